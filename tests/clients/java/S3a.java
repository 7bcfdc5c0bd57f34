// Hadoop S3A: nothing configured but the endpoint of S3, and with an argument the one provider that it shall have.

import java.io.OutputStream;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.util.VersionInfo;

final class S3a implements Protocol.Store {
  private final Configuration configuration = new Configuration();

  private S3a(String[] providers) {
    configuration.set("fs.s3a.endpoint", Protocol.ENDPOINT);
    configuration.set("fs.s3a.endpoint.region", Protocol.REGION);
    configuration.setBoolean("fs.s3a.path.style.access", true);
    if (providers.length > 0) {
      configuration.set("fs.s3a.aws.credentials.provider", providers[0]);
    }
  }

  @Override
  public void write(String bucket, String key, String text) throws Exception {
    try (OutputStream stream = of(bucket).create(new Path("/" + key))) {
      stream.write(text.getBytes(StandardCharsets.UTF_8));
    }
  }

  @Override
  public String read(String bucket, String key) throws Exception {
    try (FSDataInputStream stream = of(bucket).open(new Path("/" + key))) {
      return new String(stream.readAllBytes(), StandardCharsets.UTF_8);
    }
  }

  /** Hadoop itself keeps one for each bucket. */
  private FileSystem of(String bucket) throws Exception {
    return FileSystem.get(URI.create("s3a://" + bucket), configuration);
  }

  public static void main(String[] providers) throws Exception {
    Protocol.live("hadoop-aws", VersionInfo::getVersion, () -> new S3a(providers));
  }
}
