// The smallest producer and push consumer with the official Java client, for figures that a user of that client sees.
//
//   java -cp ...:jars/* Bench ENDPOINT TOPIC GROUP RATE IN_FLIGHT BODY_BYTES WARM_UP_SECONDS SECONDS
//
// RATE 0: as fast as IN_FLIGHT unanswered sendAsync() calls allow, and not more than MAX_AHEAD messages before the listener, so that
// the rate is one that holds. Prints "measuring", then "measured", so that a parent can read the
// server's CPU at both moments, then one JSON object. Times are milliseconds; latencies count from the call of sendAsync() (with a
// rate: from the moment when it was due) to the listener.

import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.Collections;
import java.util.Locale;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;
import org.apache.rocketmq.client.apis.ClientConfiguration;
import org.apache.rocketmq.client.apis.ClientServiceProvider;
import org.apache.rocketmq.client.apis.consumer.ConsumeResult;
import org.apache.rocketmq.client.apis.consumer.FilterExpression;
import org.apache.rocketmq.client.apis.consumer.FilterExpressionType;
import org.apache.rocketmq.client.apis.consumer.PushConsumer;
import org.apache.rocketmq.client.apis.producer.Producer;

public final class Bench {
  private static final int MAX_SAMPLES = 4_000_000;
  private static final int MAX_AHEAD = 5000;
  private static volatile boolean measuring;
  private static volatile boolean stopping;
  private static final AtomicLong sent = new AtomicLong();
  private static final AtomicLong received = new AtomicLong();
  private static final AtomicLong failed = new AtomicLong();
  private static final Semaphore ahead = new Semaphore(MAX_AHEAD);
  private static final long[] samples = new long[MAX_SAMPLES];
  private static final AtomicInteger sampleCount = new AtomicInteger();

  private static double percentile(long[] sorted, double percent) {
    if (sorted.length == 0) {
      return 0;
    }
    int rank = (int) Math.ceil(percent / 100 * sorted.length);
    return sorted[Math.max(rank - 1, 0)] / 1e6;
  }

  public static void main(String[] args) throws Exception {
    String topic = args[1];
    double rate = Double.parseDouble(args[3]);
    int inFlight = Integer.parseInt(args[4]);
    int bodyBytes = Integer.parseInt(args[5]);
    double warmUp = Double.parseDouble(args[6]);
    double seconds = Double.parseDouble(args[7]);
    ClientServiceProvider provider = ClientServiceProvider.loadService();
    ClientConfiguration configuration = ClientConfiguration.newBuilder().setEndpoints(args[0]).enableSsl(false).build();
    Producer producer = provider.newProducerBuilder().setClientConfiguration(configuration).setTopics(topic).build();
    PushConsumer consumer = provider.newPushConsumerBuilder().setClientConfiguration(configuration).setConsumerGroup(args[2])
        .setSubscriptionExpressions(Collections.singletonMap(topic, new FilterExpression("*", FilterExpressionType.TAG)))
        .setMessageListener(view -> {
          ahead.release();
          if (measuring) {
            received.incrementAndGet();
            int slot = sampleCount.getAndIncrement();
            if (slot < MAX_SAMPLES) {
              samples[slot] = System.nanoTime() - view.getBody().getLong(0);
            }
          }
          return ConsumeResult.SUCCESS;
        }).build();

    Semaphore free = new Semaphore(inFlight);
    Thread sender = new Thread(() -> {
      long due = System.nanoTime();
      while (!stopping) {
        if (rate > 0) {
          due += (long) (1e9 / rate);
          while (System.nanoTime() < due) {
            LockSupport.parkNanos(due - System.nanoTime());
          }
        }
        if (rate == 0) {
          ahead.acquireUninterruptibly();
        }
        free.acquireUninterruptibly();
        ByteBuffer body = ByteBuffer.allocate(bodyBytes);
        body.putLong(0, rate > 0 ? due : System.nanoTime());
        producer.sendAsync(provider.newMessageBuilder().setTopic(topic).setBody(body.array()).build()).whenComplete((receipt, error) -> {
          free.release();
          if (error != null) {
            failed.incrementAndGet();
          } else if (measuring) {
            sent.incrementAndGet();
          }
        });
      }
    });
    sender.start();
    Thread.sleep((long) (warmUp * 1000));
    measuring = true;
    System.out.println("measuring");
    long begin = System.nanoTime();
    Thread.sleep((long) (seconds * 1000));
    measuring = false;
    double span = (System.nanoTime() - begin) / 1e9;
    System.out.println("measured");
    stopping = true;
    ahead.release(MAX_AHEAD); // It may wait there.
    sender.join();

    long[] sorted = Arrays.copyOf(samples, Math.min(sampleCount.get(), MAX_SAMPLES));
    Arrays.sort(sorted);
    System.out.printf(Locale.ROOT,
        "{\"sent_per_second\": %.0f, \"received_per_second\": %.0f, \"sent\": %d, \"received\": %d, \"failed\": %d, \"p50\": %.3f, \"p99\": %.3f, \"max\": %.3f}%n",
        sent.get() / span, received.get() / span, sent.get(), received.get(), failed.get(), percentile(sorted, 50),
        percentile(sorted, 99), percentile(sorted, 100));
    System.out.flush();
    Runtime.getRuntime().halt(0); // Closing waits for polls that are of no interest here.
  }
}
