#!/usr/bin/perl
# Verifies and signs with Mail::DKIM: a line of JSON for each line of name=base64 words, until the input ends.
# The records of each question are all the DNS there is.
use strict;
use warnings;

# What Mail::DKIM asks of a resolver, an answer and a record, and no more.
package TableRecord;
sub type    { return 'TXT' }
sub txtdata { return ( $_[0]{text} ) }

package TableAnswer;
sub header { return $_[0] }
sub rcode  { return $_[0]{records} ? 'NOERROR' : 'NXDOMAIN' }
sub answer { return map { bless { text => $_ }, 'TableRecord' } @{ $_[0]{records} || [] } }

package TableResolver;
sub send { return bless { records => $_[0]{table}{ lc $_[1] } }, 'TableAnswer' }
sub errorstring { return 'NOERROR' }

package main;
use JSON::PP;
use MIME::Base64;
use Mail::DKIM::DNS;
use Mail::DKIM::PrivateKey;
use Mail::DKIM::Signer;
use Mail::DKIM::Verifier;

sub verify {
    my ($question) = @_;
    my %table;
    for my $record ( @{ $question->{record} || [] } ) {
        my ( $name, $text ) = split / /, $record, 2;
        push @{ $table{ lc $name } }, $text;
    }
    Mail::DKIM::DNS::resolver( bless { table => \%table }, 'TableResolver' );
    my $verifier = Mail::DKIM::Verifier->new( Strict => 1 );
    $verifier->PRINT( $question->{message}[0] );
    $verifier->CLOSE;
    return [ map { shown($_) } $verifier->signatures ];
}

sub shown {
    my ($signature) = @_;
    return {
        selector  => encode_base64( $signature->selector  // '', '' ),
        algorithm => encode_base64( $signature->algorithm // '', '' ),
        passed => ( $signature->result // '' ) eq 'pass' ? JSON::PP::true : JSON::PP::false,
        detail => $signature->result_detail // '',
    };
}

sub sign {
    my ($question) = @_;
    my %given  = map { $_ => $question->{$_}[0] } keys %$question;
    my $signer = Mail::DKIM::Signer->new(
        Algorithm => 'rsa-sha256',
        Method    => $given{canonicalization},
        Domain    => $given{domain},
        Selector  => $given{selector},
        Headers   => $given{names},
        Timestamp => $given{time},
        Key       => Mail::DKIM::PrivateKey->load( Data => $given{key} ),
        ( $given{identity} ? ( Identity   => $given{identity} ) : () ),
        ( $given{expires}  ? ( Expiration => $given{expires} )  : () ),
    );
    $signer->PRINT( $question->{message}[0] );
    $signer->CLOSE;
    return encode_base64( $signer->signature->as_string . "\015\012", '' );
}

$| = 1;
my $json = JSON::PP->new->ascii;
while ( my $line = <STDIN> ) {
    my %question;
    for my $word ( split / /, $line ) {
        my ( $name, $value ) = split /=/, $word, 2;
        push @{ $question{$name} }, decode_base64($value);
    }
    my $answer = eval { { answer => $question{sign} ? sign( \%question ) : verify( \%question ) } };
    $answer //= { error => "$@" };
    print $json->encode($answer), "\n";
}
