# Proves that META.json, the control file, the scripts and the Debian package tell of the same version, and that META.json is what PGXN's specification 1.0.0 asks for.

use strict;
use warnings;

use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $json = slurp_file('META.json');
my $meta = eval { JSON::PP->new->utf8->decode($json) };
is($@, '', 'META.json is JSON');

# https://pgxn.org/spec/: what must be there, and of what form
my $string = qr/\S/;
my $term = qr/^[^\x00-\x1f\/\\\s]{2,}$/;
my $version = qr/^(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)(?:[A-Za-z][0-9A-Za-z-]*)?$/;
like($meta->{name}, $term, 'name is a term');
like($meta->{version}, $version, 'version is a semantic version');
like($meta->{abstract}, $string, 'there is an abstract');
like($_, $string, 'there is a maintainer') foreach ref $meta->{maintainer} ? @{ $meta->{maintainer} } : $meta->{maintainer};
is($meta->{license}, 'postgresql', 'the license is one that PGXN knows');
is($meta->{'meta-spec'}{version}, '1.0.0', 'the specification is named');
is($meta->{'meta-spec'}{url}, 'https://pgxn.org/meta/spec.txt', '... and where it is');
like($meta->{release_status}, qr/^(?:stable|testing|unstable)$/, 'the status is one of three');
is(ref $meta->{tags}, 'ARRAY', 'there are tags');
is(scalar(grep { !/^[^\x00-\x1f\/\\]{1,256}$/ } @{ $meta->{tags} }), 0, '... of permitted characters');
foreach my $phase (values %{ $meta->{prereqs} })
{
	foreach my $relation (keys %$phase)
	{
		like($relation, qr/^(?:requires|recommends|suggests|conflicts)$/, "prereqs: $relation");
		like($phase->{$relation}{$_}, $version, "... $_") foreach keys %{ $phase->{$relation} };
	}
}
my %known = map { $_ => 1 } qw(name version abstract maintainer license provides meta-spec description generated_by
	tags no_index prereqs release_status resources date);
is(join(' ', grep { !$known{$_} && !/^[xX]_/ } sort keys %$meta), '', 'there are no keys of our own');

is_deeply([ sort keys %{ $meta->{provides} } ], ['summary_cache'], 'it provides the extension');
my $provides = $meta->{provides}{summary_cache};
ok(-e ($provides->{$_} // ''), "its $_ is there") foreach qw(file docfile);

# A semantic version has three numbers, the extension's two until it needs more.
my ($default) = slurp_file('summary_cache.control') =~ /^default_version *= *'(.*)'/m;
my $full = $default =~ /^\d+\.\d+$/ ? "$default.0" : $default;
is($meta->{version}, $full, 'version is the control file\'s');
is($provides->{version}, $full, '... also of what it provides');
is($provides->{file}, "sql/summary_cache--$default.sql", 'file is the install script of that version');
my ($released) = slurp_file('CHANGELOG.md') =~ /^## \Q$default\E \((unreleased|\d{4}-\d\d-\d\d)\)$/m;
ok($released, 'CHANGELOG.md has it');
is($released eq 'unreleased' ? 'not stable' : 'stable', $meta->{release_status} eq 'stable' ? 'stable' : 'not stable', '... with a date if it is stable');

SKIP:
{
	skip 'no debian/ here', 1 unless -e 'debian/changelog';
	like(slurp_file('debian/changelog'), qr/^postgresql-summary-cache \(\Q$full\E-/, 'debian/changelog begins with it');
}

done_testing();
