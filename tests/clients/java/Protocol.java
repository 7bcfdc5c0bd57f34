// The protocol of a client program, for those in Java; tests/clients/README.md has it in words.

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.Callable;
import java.util.function.Supplier;

final class Protocol {
  static final String ENDPOINT = System.getenv("STORY_ENDPOINT");
  static final String REGION = System.getenv("AWS_REGION");
  private static final String BUCKET = System.getenv("STORY_BUCKET");
  private static final String OTHER_BUCKET = System.getenv("STORY_OTHER_BUCKET");
  private static final String PREFIX = System.getenv("STORY_PREFIX");
  private static final PrintStream RUNNER = System.out;

  /** A client, made once, at the first line that needs it, and kept. */
  interface Store {
    void write(String bucket, String key, String text) throws Exception;

    String read(String bucket, String key) throws Exception;
  }

  static void live(String library, Supplier<String> version, Callable<Store> make) throws IOException {
    System.setOut(System.err); // some log to it
    tell("\"version\": " + quoted(library + " " + version.get() + ", Java " + Runtime.version().feature()));
    Store store = null;
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      long start = System.nanoTime();
      String said = null;
      try {
        if (store == null) {
          store = make.call();
        }
        obey(store, line.split(" "));
      } catch (Exception | LinkageError error) { // a class that the jar lacks is an answer too
        said = whole(error);
      }
      String ms = ", \"ms\": " + (System.nanoTime() - start) / 1_000_000;
      tell(said == null ? "\"ok\": true" + ms : "\"ok\": false" + ms + ", \"said\": " + quoted(said));
    }
    System.exit(0); // some clients leave threads behind
  }

  private static void obey(Store store, String[] words) throws Exception {
    if (words[0].equals("foreign")) {
      store.write(OTHER_BUCKET, PREFIX + "/foreign", "must not arrive");
      return;
    }
    String key = PREFIX + "/" + words[1];
    store.write(BUCKET, key, words[1]);
    String back = store.read(BUCKET, key);
    if (!back.equals(words[1])) {
      throw new IllegalStateException("wrote " + words[1] + ", read " + back);
    }
  }

  /** As a stack trace has it, without the lines that say where. */
  private static String whole(Throwable error) {
    StringBuilder said = new StringBuilder(error.toString());
    for (Throwable cause = error.getCause(); cause != null; cause = cause.getCause()) {
      said.append("\nCaused by: ").append(cause);
    }
    return said.toString();
  }

  private static void tell(String members) {
    RUNNER.println("{" + members + "}");
    RUNNER.flush();
  }

  /** As a string of JSON: the JDK has no JSON. */
  private static String quoted(String text) {
    StringBuilder quoted = new StringBuilder("\"");
    for (char letter : text.toCharArray()) {
      if (letter == '"' || letter == '\\' || letter < ' ') {
        quoted.append(String.format("\\u%04x", (int) letter));
      } else {
        quoted.append(letter);
      }
    }
    return quoted.append('"').toString();
  }

  private Protocol() {}
}
