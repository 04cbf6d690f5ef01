#!/usr/bin/perl
# Verifies messages with Mail::DKIM. Usage: mail_dkim_verify.pl ZONE MESSAGE...
# ZONE has one resource record a line. For each message one line: its path, then "domain/selector/algorithm=result"
# for each signature in the order of the message, or "none". The detail of a failure follows in parentheses.
use strict;
use warnings;

package ZoneResolver;
use Net::DNS;

sub new {
    my ( $class, $path ) = @_;
    my %records;
    open my $file, '<', $path or die "$path: $!";
    while ( my $line = <$file> ) {
        next if $line =~ /^\s*(;|$)/;
        my $record = Net::DNS::RR->new($line);
        push @{ $records{ lc $record->owner . ' ' . $record->type } }, $record;
    }
    return bless { records => \%records }, $class;
}

sub send {
    my ( $self, $name, $type ) = @_;
    my $packet = Net::DNS::Packet->new( $name, $type );
    my $found = $self->{records}{ lc $name . ' ' . $type };
    $packet->header->qr(1);
    $packet->header->rcode( $found ? 'NOERROR' : 'NXDOMAIN' );
    $packet->push( answer => @$found ) if $found;
    return $packet;
}

sub errorstring { return 'NOERROR' }

package main;
use Mail::DKIM::Verifier;
use Mail::DKIM::DNS;

my $zone = shift or die "usage: $0 ZONE MESSAGE...\n";
Mail::DKIM::DNS::resolver( ZoneResolver->new($zone) );
for my $path (@ARGV) {
    my $verifier = Mail::DKIM::Verifier->new( Strict => 0 );
    open my $message, '<:raw', $path or die "$path: $!";
    local $/ = \65536;
    while ( my $chunk = <$message> ) {
        $verifier->PRINT($chunk);
    }
    $verifier->CLOSE;
    my @results;
    for my $signature ( $verifier->signatures ) {
        my $shown = join '/', map { $_ // '' } $signature->domain, $signature->selector, $signature->algorithm;
        my $detail = $signature->result eq 'pass' ? '' : ' (' . ( $signature->result_detail // '' ) . ')';
        push @results, "$shown=" . $signature->result . $detail;
    }
    print join( "\t", $path, @results ? @results : 'none' ), "\n";
}
