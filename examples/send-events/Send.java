import java.io.IOException;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.util.Base64;
import java.util.concurrent.ThreadLocalRandom;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Sends one event to a secevent transmitter: java Send.java KEY < event.json
 *
 * <p>KEY is the Idempotency-Key: take a name that the event keeps when this program runs again, such as a row id.
 * Needs Java 17 or newer, and SECEVENT_ISSUER, SECEVENT_TOKEN_URL, SECEVENT_CLIENT and SECEVENT_SECRET.
 */
public class Send {
    static final HttpClient CLIENT = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(10)).build();
    static final Instant UNTIL = Instant.now().plus(Duration.ofMinutes(15));

    public static void main(String[] args) throws Exception {
        String key = args[0];
        byte[] event = System.in.readAllBytes();
        HttpResponse<String> answer = send(event, key, getToken());
        if (answer.statusCode() == 401) { // The token has ended.
            answer = send(event, key, getToken());
        }
        if (answer.statusCode() != 202) {
            fail("rejected, status " + answer.statusCode() + ": " + answer.body());
        }
        System.out.println(answer.body());
    }

    static String getToken() throws InterruptedException {
        String pair = encoded(System.getenv("SECEVENT_CLIENT")) + ":" + encoded(System.getenv("SECEVENT_SECRET"));
        String basic = Base64.getEncoder().encodeToString(pair.getBytes(StandardCharsets.UTF_8));
        HttpResponse<String> answer = call(HttpRequest.newBuilder(URI.create(System.getenv("SECEVENT_TOKEN_URL")))
                .header("Authorization", "Basic " + basic)
                .header("Content-Type", "application/x-www-form-urlencoded")
                .POST(HttpRequest.BodyPublishers.ofString("grant_type=client_credentials&scope=events.write")));
        Matcher token = Pattern.compile("\"access_token\"\\s*:\\s*\"([^\"]+)\"").matcher(answer.body());
        if (answer.statusCode() != 200 || !token.find()) {
            fail("no access token, status " + answer.statusCode() + ": " + answer.body());
        }
        return token.group(1);
    }

    static HttpResponse<String> send(byte[] event, String key, String token) throws InterruptedException {
        return call(HttpRequest.newBuilder(URI.create(System.getenv("SECEVENT_ISSUER") + "/events"))
                .header("Authorization", "Bearer " + token)
                .header("Content-Type", "application/json")
                .header("Idempotency-Key", key)
                .POST(HttpRequest.BodyPublishers.ofByteArray(event)));
    }

    /** One request, repeated while that can help. */
    static HttpResponse<String> call(HttpRequest.Builder builder) throws InterruptedException {
        HttpRequest request = builder.timeout(Duration.ofSeconds(30)).build();
        for (long delay = 1_000; ; delay = Math.min(2 * delay, 60_000)) {
            String problem;
            long retryAfter = 0;
            try {
                HttpResponse<String> answer = CLIENT.send(request, HttpResponse.BodyHandlers.ofString());
                int status = answer.statusCode();
                if (status != 408 && status != 429 && status < 500) {
                    return answer;
                }
                problem = "status " + status + ": " + answer.body();
                String seconds = answer.headers().firstValue("Retry-After").orElse("");
                retryAfter = seconds.matches("\\d{1,9}") ? 1_000 * Long.parseLong(seconds) : 0;
            } catch (IOException error) {
                problem = error.toString();
            }
            // The random part keeps producers apart that failed at the same moment.
            long pause = Math.max(ThreadLocalRandom.current().nextLong(delay / 2, delay), retryAfter);
            if (Instant.now().plusMillis(pause).isAfter(UNTIL)) {
                fail("gave up, run it again with the same key: " + problem);
            }
            Thread.sleep(pause);
        }
    }

    static String encoded(String text) {
        return URLEncoder.encode(text, StandardCharsets.UTF_8);
    }

    static void fail(String problem) {
        System.err.println(problem);
        System.exit(1);
    }
}
