// Interop agent for the official Java client: executes the line protocol of
// tests/interop/README.md on stdin and stdout.

import com.google.gson.Gson;
import com.google.gson.JsonElement;
import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import java.io.BufferedReader;
import java.io.Closeable;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.rocketmq.client.apis.ClientConfiguration;
import org.apache.rocketmq.client.apis.ClientConfigurationBuilder;
import org.apache.rocketmq.client.apis.ClientServiceProvider;
import org.apache.rocketmq.client.apis.consumer.ConsumeResult;
import org.apache.rocketmq.client.apis.consumer.FilterExpression;
import org.apache.rocketmq.client.apis.consumer.FilterExpressionType;
import org.apache.rocketmq.client.apis.consumer.SimpleConsumer;
import org.apache.rocketmq.client.apis.message.MessageBuilder;
import org.apache.rocketmq.client.apis.message.MessageView;
import org.apache.rocketmq.client.apis.producer.Producer;

public final class Agent {
  private static final Gson GSON = new Gson();
  private final ClientServiceProvider provider = ClientServiceProvider.loadService();
  private final PrintStream out;
  private final boolean tls;
  private final Map<String, Closeable> clients = new ConcurrentHashMap<>();
  private final Map<String, CountDownLatch> holds = new ConcurrentHashMap<>();
  private final Map<Long, MessageView> views = new ConcurrentHashMap<>();
  private final AtomicLong nextHandle = new AtomicLong();

  private Agent(PrintStream out, boolean tls) {
    this.out = out;
    this.tls = tls;
  }

  private void write(JsonObject value) {
    byte[] line = (GSON.toJson(value) + "\n").getBytes(StandardCharsets.UTF_8);
    synchronized (out) {
      out.write(line, 0, line.length);
      out.flush();
    }
  }

  private static JsonObject describe(MessageView view) {
    byte[] body = new byte[view.getBody().remaining()];
    view.getBody().get(body);
    JsonObject message = new JsonObject();
    message.addProperty("message_id", view.getMessageId().toString());
    message.addProperty("topic", view.getTopic());
    message.addProperty("body", Base64.getEncoder().encodeToString(body));
    view.getTag().ifPresent(tag -> message.addProperty("tag", tag));
    message.add("keys", GSON.toJsonTree(view.getKeys()));
    message.add("properties", GSON.toJsonTree(view.getProperties()));
    message.addProperty("attempt", view.getDeliveryAttempt());
    return message;
  }

  private ConsumeResult onDelivery(JsonObject start, MessageView view) {
    String name = start.get("client").getAsString();
    JsonObject event = new JsonObject();
    event.addProperty("event", "delivery");
    event.addProperty("client", name);
    event.add("message", describe(view));
    write(event);
    if (start.has("hold") && start.get("hold").getAsBoolean()) {
      try {
        holds.get(name).await();
      } catch (InterruptedException e) {
        return ConsumeResult.FAILURE;
      }
    }
    int failAttempts = start.has("fail_attempts") ? start.get("fail_attempts").getAsInt() : 0;
    return view.getDeliveryAttempt() <= failAttempts ? ConsumeResult.FAILURE : ConsumeResult.SUCCESS;
  }

  private void start(JsonObject r) throws Exception {
    String name = r.get("client").getAsString();
    ClientConfigurationBuilder builder = ClientConfiguration.newBuilder()
        .setEndpoints(r.get("endpoint").getAsString())
        .setRequestTimeout(Duration.ofMillis(r.get("request_timeout_ms").getAsLong()));
    if (!tls) {
      builder.enableSsl(false); // Untouched, this client speaks TLS.
    }
    ClientConfiguration configuration = builder.build();
    FilterExpressionType type = r.has("sql") && r.get("sql").getAsBoolean() ? FilterExpressionType.SQL92 : FilterExpressionType.TAG;
    Map<String, FilterExpression> subscriptions = new HashMap<>();
    if (r.has("subscriptions")) {
      for (Map.Entry<String, JsonElement> entry : r.getAsJsonObject("subscriptions").entrySet()) {
        subscriptions.put(entry.getKey(), new FilterExpression(entry.getValue().getAsString(), type));
      }
    }
    String kind = r.get("kind").getAsString();
    switch (kind) {
      case "producer":
        String[] topics = GSON.fromJson(r.get("topics"), String[].class);
        clients.put(name, provider.newProducerBuilder().setClientConfiguration(configuration).setTopics(topics).build());
        break;
      case "simple":
        clients.put(name, provider.newSimpleConsumerBuilder().setClientConfiguration(configuration)
            .setConsumerGroup(r.get("group").getAsString()).setSubscriptionExpressions(subscriptions)
            .setAwaitDuration(Duration.ofMillis(r.get("await_ms").getAsLong())).build());
        break;
      case "push":
        holds.put(name, new CountDownLatch(1));
        clients.put(name, provider.newPushConsumerBuilder().setClientConfiguration(configuration)
            .setConsumerGroup(r.get("group").getAsString()).setSubscriptionExpressions(subscriptions)
            .setMessageListener(view -> onDelivery(r, view)).build());
        break;
      default:
        throw new IllegalArgumentException("unknown kind " + kind);
    }
  }

  private String send(JsonObject r) throws Exception {
    MessageBuilder message = provider.newMessageBuilder()
        .setTopic(r.get("topic").getAsString())
        .setBody(Base64.getDecoder().decode(r.get("body").getAsString()));
    if (r.has("tag")) {
      message.setTag(r.get("tag").getAsString());
    }
    if (r.has("keys")) {
      message.setKeys(GSON.fromJson(r.get("keys"), String[].class));
    }
    if (r.has("priority")) {
      message.setPriority(r.get("priority").getAsInt());
    }
    if (r.has("properties")) {
      for (Map.Entry<String, JsonElement> entry : r.getAsJsonObject("properties").entrySet()) {
        message.addProperty(entry.getKey(), entry.getValue().getAsString());
      }
    }
    Producer producer = (Producer) clients.get(r.get("client").getAsString());
    return producer.send(message.build()).getMessageId().toString();
  }

  private JsonArray receive(JsonObject r) throws Exception {
    SimpleConsumer consumer = (SimpleConsumer) clients.get(r.get("client").getAsString());
    List<MessageView> received =
        consumer.receive(r.get("max").getAsInt(), Duration.ofMillis(r.get("invisible_ms").getAsLong()));
    JsonArray messages = new JsonArray();
    for (MessageView view : received) {
      long handle = nextHandle.incrementAndGet();
      views.put(handle, view);
      JsonObject message = describe(view);
      message.addProperty("handle", handle);
      messages.add(message);
    }
    return messages;
  }

  private void execute(JsonObject r, JsonObject reply) throws Exception {
    String op = r.get("op").getAsString();
    String client = r.get("client").getAsString();
    switch (op) {
      case "start":
        start(r);
        break;
      case "send":
        reply.addProperty("message_id", send(r));
        break;
      case "receive":
        reply.add("messages", receive(r));
        break;
      case "ack":
        ((SimpleConsumer) clients.get(client)).ack(views.get(r.get("handle").getAsLong()));
        break;
      case "change_invisible":
        ((SimpleConsumer) clients.get(client)).changeInvisibleDuration(
            views.get(r.get("handle").getAsLong()), Duration.ofMillis(r.get("invisible_ms").getAsLong()));
        break;
      case "release":
        holds.get(client).countDown();
        break;
      case "stop":
        clients.get(client).close();
        break;
      default:
        throw new IllegalArgumentException("unknown op " + op);
    }
  }

  private void answer(JsonObject r) {
    JsonObject reply = new JsonObject();
    reply.add("id", r.get("id"));
    try {
      execute(r, reply);
      reply.addProperty("ok", true);
    } catch (Throwable e) {
      e.printStackTrace();
      reply.addProperty("ok", false);
      reply.addProperty("error", e.toString());
    }
    write(reply);
  }

  public static void main(String[] args) throws Exception {
    PrintStream out = System.out;
    System.setOut(System.err); // Whatever a library prints must not mix with the protocol.
    boolean tls = args.length > 0 && args[0].equals("--tls");
    Agent agent = new Agent(out, tls);
    JsonObject hello = new JsonObject();
    hello.addProperty("event", "hello");
    hello.addProperty("language", "java");
    hello.addProperty("client_version", System.getProperty("interop.client_version", "unknown"));
    hello.addProperty("tls", tls);
    agent.write(hello);
    ExecutorService executor = Executors.newCachedThreadPool();
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = in.readLine(); line != null; line = in.readLine()) {
      JsonObject request = GSON.fromJson(line, JsonObject.class);
      if (request.get("op").getAsString().equals("exit")) {
        break;
      }
      executor.execute(() -> agent.answer(request));
    }
    Runtime.getRuntime().halt(0);
  }
}
