# The SDK for Ruby: the default credential chain. ../../clients/README.md has the protocol in words.

require "json"
require "aws-sdk-s3"

def tell(line)
  puts JSON.generate(line)
  $stdout.flush
end

def obey(s3, command, name = nil)
  prefix = ENV.fetch("STORY_PREFIX")
  if command == "foreign"
    s3.put_object(bucket: ENV.fetch("STORY_OTHER_BUCKET"), key: "#{prefix}/foreign", body: "must not arrive")
    return
  end
  object = { bucket: ENV.fetch("STORY_BUCKET"), key: "#{prefix}/#{name}" }
  s3.put_object(body: name, **object)
  back = s3.get_object(**object).body.read
  raise "wrote #{name}, read #{back}" unless back == name
end

tell(version: "aws-sdk-s3 #{Aws::S3::GEM_VERSION}, aws-sdk-core #{Aws::CORE_GEM_VERSION}")
s3 = nil
$stdin.each_line do |line|
  start = Process.clock_gettime(Process::CLOCK_MONOTONIC)
  answer = { ok: true }
  begin
    s3 ||= Aws::S3::Client.new(endpoint: ENV.fetch("STORY_ENDPOINT"), force_path_style: true)
    obey(s3, *line.split)
  rescue StandardError => error
    answer = { ok: false, said: "#{error.class}: #{error.message}" }
  end
  tell(ms: ((Process.clock_gettime(Process::CLOCK_MONOTONIC) - start) * 1000).round, **answer)
end
