// Makes the providers that recipes name as the sinks make them, and prints the key id that each resolves: java Providers.java CLASS…
// The static method `create`, as Kafka Connect S3 does (S3SinkConnectorConfig.getCredentialsProvider); without it the
// constructor, as flink-s3-fs-native does.

import java.lang.reflect.Method;
import software.amazon.awssdk.auth.credentials.AwsCredentialsProvider;

public class Providers {
  public static void main(String[] names) throws Exception {
    for (String name : names) {
      Class<?> type = Class.forName(name);
      Method create = null;
      try {
        create = type.getMethod("create");
      } catch (NoSuchMethodException none) {
        // By its constructor, then.
      }
      Object made = create == null ? type.getDeclaredConstructor().newInstance() : create.invoke(null);
      String id = ((AwsCredentialsProvider) made).resolveCredentials().accessKeyId();
      System.out.println(name + " " + id);
    }
  }
}
