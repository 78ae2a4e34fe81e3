// With org.apache.rocketmq:rocketmq-client-java:5.2.0 and what it needs on the class path; for a try out of this repository:
//   tests/interop/run --install-only --lang java; java -cp 'build/interop/java/lib/*' docs/snippets/Hello.java
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Map;
import org.apache.rocketmq.client.apis.ClientConfiguration;
import org.apache.rocketmq.client.apis.ClientServiceProvider;
import org.apache.rocketmq.client.apis.consumer.FilterExpression;
import org.apache.rocketmq.client.apis.consumer.SimpleConsumer;
import org.apache.rocketmq.client.apis.message.MessageView;
import org.apache.rocketmq.client.apis.producer.Producer;

public class Hello {
  public static void main(String[] args) throws Exception {
    ClientServiceProvider provider = ClientServiceProvider.loadService();
    ClientConfiguration configuration = ClientConfiguration.newBuilder()
        .setEndpoints("127.0.0.1:8081").enableSsl(false).build();  // its default, TLS, works too

    try (Producer producer = provider.newProducerBuilder().setClientConfiguration(configuration).setTopics("quickstart").build()) {
      System.out.println("sent " + producer.send(provider.newMessageBuilder().setTopic("quickstart").setTag("hello")
          .setBody("hello from Java".getBytes(StandardCharsets.UTF_8)).build()).getMessageId());
    }
    try (SimpleConsumer consumer = provider.newSimpleConsumerBuilder().setClientConfiguration(configuration)
        .setConsumerGroup("quickstart-java").setAwaitDuration(Duration.ofSeconds(5))
        .setSubscriptionExpressions(Map.of("quickstart", FilterExpression.SUB_ALL)).build()) {
      for (MessageView message : consumer.receive(8, Duration.ofSeconds(30))) {  // at most 8, each ours for 30 s
        System.out.println("received " + StandardCharsets.UTF_8.decode(message.getBody()));
        consumer.ack(message);
      }
    }
  }
}
