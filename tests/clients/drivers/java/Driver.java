import io.modelcontextprotocol.client.McpAsyncClient;
import io.modelcontextprotocol.client.McpClient;
import io.modelcontextprotocol.client.transport.HttpClientStreamableHttpTransport;
import io.modelcontextprotocol.json.McpJsonDefaults;
import io.modelcontextprotocol.spec.McpSchema;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.URI;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/** The official Java SDK, driven through the steps as python_steps.py has them. Arguments: URL STEP[,STEP…] */
public class Driver {
    static final Duration PATIENCE = Duration.ofSeconds(40);
    static final int LEAVES = 6;
    static final String ROOT = "file:///matrix";
    static final String COLOUR = "ultramarine";
    static final String REPLY = "hello from the model";
    static final List<String> LOGGED = List.of("entry 1", "entry 2", "entry 3");

    /** One connection, and what came to it besides answers. */
    static final class Peer {
        final List<String> logged = Collections.synchronizedList(new ArrayList<>());
        final List<Double> progress = Collections.synchronizedList(new ArrayList<>());
        final McpAsyncClient client;
        final McpSchema.InitializeResult initialized;

        Peer(String url) {
            URI uri = URI.create(url);
            var transport = HttpClientStreamableHttpTransport
                .builder(uri.getScheme() + "://" + uri.getAuthority())
                .endpoint(uri.getPath())
                .build();
            client = McpClient.async(transport)
                .requestTimeout(PATIENCE)
                .clientInfo(new McpSchema.Implementation("matrix", "1.0.0"))
                .capabilities(
                    McpSchema.ClientCapabilities.builder().roots(true).sampling().elicitation().build())
                .roots(new McpSchema.Root(ROOT, "matrix"))
                .elicitation(asked -> Mono.just(
                    new McpSchema.ElicitResult(McpSchema.ElicitResult.Action.ACCEPT, Map.of("colour", COLOUR))))
                .sampling(asked -> Mono.just(new McpSchema.CreateMessageResult(
                    McpSchema.Role.ASSISTANT,
                    new McpSchema.TextContent(REPLY),
                    "none",
                    McpSchema.CreateMessageResult.StopReason.END_TURN)))
                .loggingConsumer(message -> Mono.fromRunnable(() -> logged.add(message.data())))
                .progressConsumer(message -> Mono.fromRunnable(() -> progress.add(message.progress())))
                .build();
            initialized = client.initialize().block(PATIENCE);
        }

        Mono<String> begin(String tool, Map<String, Object> arguments) {
            var request = McpSchema.CallToolRequest.builder()
                .name(tool)
                .arguments(arguments)
                .progressToken(UUID.randomUUID().toString())
                .build();
            return client.callTool(request).map(Driver::textOf);
        }

        String call(String tool, Map<String, Object> arguments) {
            return begin(tool, arguments).block(PATIENCE);
        }

        void close() {
            client.closeGracefully().block(PATIENCE);
        }
    }

    interface Step {
        String run() throws Exception;
    }

    final String url;
    final BufferedReader answers = new BufferedReader(new InputStreamReader(System.in));
    final Map<String, Step> steps = new HashMap<>();
    Peer peer;
    String session;
    int counts;

    Driver(String url) {
        this.url = url;
        steps.put("tools", this::tools);
        steps.put("counters", this::counters);
        steps.put("progress", this::progress);
        steps.put("logging", this::logging);
        steps.put("elicitation", () -> contains(peer.call("ask", Map.of()), COLOUR));
        steps.put("sampling", () -> contains(peer.call("sample", Map.of()), REPLY));
        steps.put("roots", () -> contains(peer.call("roots", Map.of()), ROOT));
        steps.put("silence", this::silence);
        steps.put("restart", this::restart);
        steps.put("delete_in_flight", this::deleteInFlight);
    }

    String tools() {
        String stored = peer.call("store_app_state", Map.of("key", "colour", "data", Map.of("deep", List.of(COLOUR))));
        contains(stored, COLOUR);
        contains(peer.call("get_app_state", Map.of("key", "colour")), COLOUR);
        String ran = peer.call("lambda_operation", Map.of("operation", "matrix", "input", Map.of("batch", 1)));
        need(number(ran, "execution_count") == 1, ran);
        contains(peer.call("global_state", Map.of("region", "eu-west-1", "data", Map.of("warm", true))), "warm");
        contains(peer.call("dynamodb_info", Map.of()), "tables");
        session = handleIn(stored);
        return "";
    }

    String counters() {
        for (int i = 0; i < 5; i++) oneMore();
        List<Integer> numbers = Flux.range(0, 8)
            .flatMap(i -> peer.begin("count", Map.of()))
            .map(text -> number(text, "count"))
            .sort()
            .collectList()
            .block(PATIENCE);
        for (int i = 0; i < 8; i++) need(numbers.get(i) == counts + 1 + i, numbers.toString());
        counts += 8;
        return "counted to " + counts;
    }

    void oneMore() {
        String text = peer.call("count", Map.of());
        counts++;
        need(number(text, "count") == counts, text);
    }

    String progress() throws InterruptedException {
        peer.progress.clear();
        peer.call("report", Map.of());
        for (int i = 0; i < 100 && peer.progress.size() < 3; i++) Thread.sleep(50);
        need(peer.progress.equals(List.of(1.0, 2.0, 3.0)), peer.progress.toString());
        return "";
    }

    String logging() throws InterruptedException {
        peer.client.setLoggingLevel(McpSchema.LoggingLevel.INFO).block(PATIENCE);
        peer.call("log", Map.of());
        for (int i = 0; i < 100 && peer.logged.size() < 3; i++) Thread.sleep(50);
        need(peer.logged.equals(LOGGED), peer.logged.toString());
        return "";
    }

    String silence() {
        Map<String, Object> arguments = Map.of("seconds", 3.5, "token", token(), "announced", true);
        return contains(peer.call("wait", arguments), "waited to the end");
    }

    String restart() throws Exception {
        if (counts == 0) oneMore();
        say(Map.of("ask", "restart"));
        answers.readLine();
        oneMore();
        oneMore();
        return "counted on to " + counts;
    }

    String deleteInFlight() throws Exception {
        for (int i = 0; i < LEAVES; i++) {
            String token = token();
            Peer other = new Peer(url);
            other.begin("wait", Map.of("seconds", 4, "token", token)).subscribe(text -> {}, error -> {});
            became(other, token, "begun");
            other.close();
        }
        return "";
    }

    void became(Peer peer, String token, String expected) throws InterruptedException {
        String seen = "";
        for (int i = 0; i < 80; i++) {
            seen = peer.call("outcome", Map.of("token", token));
            if (seen.contains(expected)) return;
            Thread.sleep(100);
        }
        throw new IllegalStateException("the call is " + seen + ", not " + expected);
    }

    static String token() {
        return UUID.randomUUID().toString();
    }

    static void need(boolean condition, String found) {
        if (!condition) throw new IllegalStateException("unexpected: " + found);
    }

    static String contains(String text, String expected) {
        need(text.contains(expected), text);
        return "";
    }

    static int number(String text, String name) {
        Matcher found = Pattern.compile(name + "\\W+(\\d+)").matcher(text);
        need(found.find(), text);
        return Integer.parseInt(found.group(1));
    }

    static String handleIn(String text) {
        Matcher found = Pattern.compile("session_id\\W+([\\w-]{16,})").matcher(text);
        return found.find() ? found.group(1) : null;
    }

    static String json(Object value) {
        try {
            return McpJsonDefaults.getMapper().writeValueAsString(value);
        } catch (Exception error) {
            throw new IllegalStateException(error);
        }
    }

    static String textOf(McpSchema.CallToolResult result) {
        String text = json(result).replace("\\", "");
        if (Boolean.TRUE.equals(result.isError())) throw new IllegalStateException(text);
        return text;
    }

    static void say(Map<String, Object> line) {
        System.out.println(json(line));
        System.out.flush();
    }

    static void say(String step, Boolean ok, String detail) {
        Map<String, Object> line = new HashMap<>();
        line.put("step", step);
        line.put("ok", ok);
        line.put("detail", detail);
        say(line);
    }

    static String told(Throwable error) {
        Throwable cause = error.getCause();
        return error + (cause == null ? "" : " (" + cause + ")");
    }

    public static void main(String[] arguments) {
        var driver = new Driver(arguments[0]);
        List<String> wanted = List.of(arguments[1].split(","));
        try {
            driver.peer = new Peer(driver.url);
        } catch (Throwable error) {
            say("connect", false, told(error));
            System.exit(1);
        }
        say("connect", true, driver.peer.initialized.protocolVersion());
        for (String name : wanted) {
            if (name.equals("connect") || name.equals("delete")) continue;
            try {
                say(name, true, driver.steps.get(name).run());
            } catch (Throwable error) {
                say(name, false, told(error));
            }
        }
        if (wanted.contains("delete")) {
            try {
                if (driver.session == null) {
                    driver.session = handleIn(
                        driver.peer.call("lambda_operation", Map.of("operation", "leave", "input", "")));
                }
                driver.peer.close();
                say(Map.of("step", "delete", "ok", true, "detail", "", "session", driver.session));
            } catch (Throwable error) {
                say("delete", false, told(error));
            }
        }
        System.exit(0);
    }
}
