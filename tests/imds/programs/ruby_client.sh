#!/bin/sh
# Debian's Ruby where it was unpacked: ruby_client.sh DIRECTORY.
usr=$1/usr
library=$usr/lib/x86_64-linux-gnu
path=$usr/lib/ruby/vendor_ruby:$usr/lib/ruby/3.1.0:$library/ruby/3.1.0
for gem in "$usr"/share/rubygems-integration/all/gems/*/lib "$usr"/lib/ruby/gems/3.1.0/gems/rexml-*/lib; do
    path=$path:$gem
done
exec env LD_LIBRARY_PATH="$library" RUBYLIB="$path" "$usr/bin/ruby3.1" --disable-gems "$(dirname "$0")/ruby_client.rb"
