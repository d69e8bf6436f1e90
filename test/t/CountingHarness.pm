# For prove: writes what became of each test file to the file $ENV{TEST_RESULTS}, a line each: "ok",
# "failed" or "skipped", its name, and the seconds that it took.  What prove prints is for people: it
# looks different with --timer, --verbose, --jobs and --quiet.

package CountingHarness;

use strict;
use warnings;

use parent 'TAP::Harness';

sub new
{
	my ($class, @arguments) = @_;
	my $self = $class->SUPER::new(@arguments);

	open my $results, '>', $ENV{TEST_RESULTS} or die "$ENV{TEST_RESULTS}: $!\n";
	$results->autoflush;
	$self->callback(
		after_test => sub {
			my ($test, $parser) = @_;
			my $result = $parser->has_problems ? 'failed' : defined $parser->skip_all ? 'skipped' : 'ok';

			printf $results "%s %s %.0f\n", $result, $test->[0], $parser->end_time - $parser->start_time;
		});
	return $self;
}

1;
