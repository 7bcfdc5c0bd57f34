// Iceberg's S3FileIO, by which sinks write tables: its own defaults, nothing configured but the endpoint of S3.

import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import smfs.shaded.org.apache.iceberg.IcebergBuild;
import smfs.shaded.org.apache.iceberg.aws.s3.S3FileIO;

final class Iceberg implements Protocol.Store {
  private final S3FileIO files = new S3FileIO();

  private Iceberg() {
    files.initialize(Map.of("s3.endpoint", Protocol.ENDPOINT, "s3.path-style-access", "true"));
  }

  @Override
  public void write(String bucket, String key, String text) throws Exception {
    try (OutputStream stream = files.newOutputFile("s3://" + bucket + "/" + key).createOrOverwrite()) {
      stream.write(text.getBytes(StandardCharsets.UTF_8));
    }
  }

  @Override
  public String read(String bucket, String key) throws Exception {
    try (InputStream stream = files.newInputFile("s3://" + bucket + "/" + key).newStream()) {
      return new String(stream.readAllBytes(), StandardCharsets.UTF_8);
    }
  }

  private static String version() {
    return IcebergBuild.gitTags().get(0).replace("apache-iceberg-", "");
  }

  public static void main(String[] none) throws Exception {
    Protocol.live("iceberg-aws", Iceberg::version, Iceberg::new);
  }
}
