import io.modelcontextprotocol.client.McpClient;
import io.modelcontextprotocol.client.McpSyncClient;
import io.modelcontextprotocol.client.transport.HttpClientStreamableHttpTransport;
import io.modelcontextprotocol.spec.McpSchema;
import java.net.URI;
import java.nio.file.Files;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.CopyOnWriteArrayList;

/** Every kind of event stream, by the SDK's client: {@code Faults URL}, a line for each. */
public class Faults {

	private static final int PATIENCE_MS = 10_000;

	public static void main(String[] arguments) throws Exception {
		URI uri = URI.create(arguments[0]);
		var transport = HttpClientStreamableHttpTransport.builder(uri.getScheme() + "://" + uri.getAuthority())
			.endpoint(uri.getPath())
			.build();
		List<String> logged = new CopyOnWriteArrayList<>();
		List<Double> progress = new CopyOnWriteArrayList<>();
		McpSyncClient client = McpClient.sync(transport)
			.requestTimeout(Duration.ofSeconds(30))
			.capabilities(McpSchema.ClientCapabilities.builder().elicitation().build())
			.elicitation(request -> new McpSchema.ElicitResult(McpSchema.ElicitResult.Action.ACCEPT,
					Map.of("colour", "green")))
			.loggingConsumer(message -> logged.add(message.data()))
			.progressConsumer(message -> progress.add(message.progress()))
			.build();
		client.initialize();
		// Its standalone stream is opened meanwhile; nothing says when.
		Thread.sleep(1000);
		step("progress", () -> {
			call(client, "count_progress", Map.of("last", 3));
			return await(progress, 3);
		});
		step("question", () -> call(client, "ask_user", Map.of("question", "Which colour?")));
		String mark = Files.createTempDirectory("faults").resolve("mark").toString();
		step("silence", () -> call(client, "work", Map.of("seconds", 4, "mark", mark, "announced", false)));
		step("standalone", () -> {
			logged.clear();
			call(client, "say_aside", Map.of("first", 1, "last", 3));
			return await(logged, 3);
		});
		System.exit(0);
	}

	private static String call(McpSyncClient client, String name, Map<String, Object> arguments) {
		var result = client
			.callTool(new McpSchema.CallToolRequest(name, arguments, Map.of("progressToken", "token-" + name)));
		return ((McpSchema.TextContent) result.content().get(0)).text();
	}

	private static String await(List<?> received, int count) throws InterruptedException {
		long until = System.currentTimeMillis() + PATIENCE_MS;
		while (received.size() < count && System.currentTimeMillis() < until) {
			Thread.sleep(20);
		}
		// McpSyncClient hands each to some thread of a pool, so that two may overtake each other there.
		return received.stream().sorted().toList().toString();
	}

	private static void step(String name, Callable<String> body) {
		String said;
		try {
			said = body.call();
		}
		catch (Exception failure) {
			said = "FAILED " + failure;
		}
		System.out.println(name + "\t" + said);
	}

}
