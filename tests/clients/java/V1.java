// AWS SDK for Java v1: the default credential chain, nothing configured but the endpoint of S3.

import com.amazonaws.client.builder.AwsClientBuilder.EndpointConfiguration;
import com.amazonaws.services.s3.AmazonS3;
import com.amazonaws.services.s3.AmazonS3ClientBuilder;
import com.amazonaws.util.VersionInfoUtils;

final class V1 implements Protocol.Store {
  private final AmazonS3 s3 =
      AmazonS3ClientBuilder.standard()
          .withEndpointConfiguration(new EndpointConfiguration(Protocol.ENDPOINT, Protocol.REGION))
          .withPathStyleAccessEnabled(true)
          .build();

  @Override
  public void write(String bucket, String key, String text) {
    s3.putObject(bucket, key, text);
  }

  @Override
  public String read(String bucket, String key) {
    return s3.getObjectAsString(bucket, key);
  }

  public static void main(String[] none) throws Exception {
    Protocol.live("aws-java-sdk", VersionInfoUtils::getVersion, V1::new);
  }
}
