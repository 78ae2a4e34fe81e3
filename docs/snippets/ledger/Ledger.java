// protoc -I protos --java_out=gen --grpc-java_out=gen fulmar/ledger/v1/ledger.proto   (with the plugin protoc-gen-grpc-java)
// then, with grpc-netty, grpc-protobuf and grpc-stub on the class path: java -cp ... Ledger
import com.google.protobuf.ByteString;
import fulmar.ledger.v1.Ledger.BeginRequest;
import fulmar.ledger.v1.Ledger.BeginResponse;
import fulmar.ledger.v1.Ledger.CompleteRequest;
import fulmar.ledger.v1.LedgerServiceGrpc;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import java.util.UUID;

public class Ledger {
  public static void main(String[] args) {
    ManagedChannel channel = ManagedChannelBuilder.forTarget("127.0.0.1:8081").usePlaintext().build();
    LedgerServiceGrpc.LedgerServiceBlockingStub ledger = LedgerServiceGrpc.newBlockingStub(channel);

    BeginResponse begun = ledger.begin(attempt());
    if (begun.getOutcome() == BeginResponse.Outcome.STARTED) {
      System.out.println("started with token " + begun.getEntry().getToken());
      // Here: one transaction with the effect, the key and the token.
      ledger.complete(CompleteRequest.newBuilder().setGroup("booking").setKey("order-1-java")
          .setToken(begun.getEntry().getToken()).setResult(ByteString.copyFromUtf8("booked")).build());
    }

    BeginResponse again = ledger.begin(attempt());
    System.out.println(again.getOutcome() + " " + again.getEntry().getResult().toStringUtf8());
    channel.shutdown();
  }

  private static BeginRequest attempt() {
    return BeginRequest.newBuilder().setGroup("booking").setKey("order-1-java").setHolder(UUID.randomUUID().toString()).build();
  }
}
