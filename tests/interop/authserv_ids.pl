# Reads Authentication-Results with Mail::AuthenticationResults: one value a line, in hexadecimal digits; answers the
# authserv-id likewise, or an empty line.
use strict;
use warnings;
use Mail::AuthenticationResults::Parser;

while ( my $line = <STDIN> ) {
    chomp $line;
    my $value = pack 'H*', $line;
    my $id    = eval {
        my $found = Mail::AuthenticationResults::Parser->new()->parse($value)->value();
        ref $found ? $found->value() : $found;
    };
    print unpack( 'H*', $id // '' ), "\n";
}
