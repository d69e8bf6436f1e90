# Ends a TAP test at its first failure: of a mutant that is all there is to know (PERL5OPT in test/covers.sh).

package StopAtFailure;

use strict;
use warnings;

use Test::Builder;

my $ok = \&Test::Builder::ok;

no warnings 'redefine';
*Test::Builder::ok = sub {
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $passed = $ok->(@_);

	die "stopped at the first failure\n" unless $passed;
	return $passed;
};

1;
