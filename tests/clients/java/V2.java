// AWS SDK for Java v2: the default credential chain, nothing configured but the endpoint of S3.
// The jar at hand carries it under a prefix, `smfs.shaded`.

import java.net.URI;
import smfs.shaded.software.amazon.awssdk.core.sync.RequestBody;
import smfs.shaded.software.amazon.awssdk.core.util.VersionInfo;
import smfs.shaded.software.amazon.awssdk.http.apache5.Apache5HttpClient;
import smfs.shaded.software.amazon.awssdk.services.s3.S3Client;

final class V2 implements Protocol.Store {
  private final S3Client s3 =
      S3Client.builder()
          .endpointOverride(URI.create(Protocol.ENDPOINT))
          .forcePathStyle(true)
          .httpClientBuilder(Apache5HttpClient.builder()) // the jar has it, but not the file by which the SDK finds it
          .build();

  @Override
  public void write(String bucket, String key, String text) {
    s3.putObject(request -> request.bucket(bucket).key(key), RequestBody.fromString(text));
  }

  @Override
  public String read(String bucket, String key) {
    return s3.getObjectAsBytes(request -> request.bucket(bucket).key(key)).asUtf8String();
  }

  public static void main(String[] none) throws Exception {
    Protocol.live("aws-sdk-java-v2", () -> VersionInfo.SDK_VERSION, V2::new);
  }
}
