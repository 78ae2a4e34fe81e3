# pip install rocketmq-python-client; then: python hello.py
from rocketmq import ClientConfiguration, Credentials, FilterExpression, Message, Producer, SimpleConsumer

configuration = ClientConfiguration("127.0.0.1:8081", Credentials())

producer = Producer(configuration, ("quickstart",), tls_enable=False)
producer.startup()
message = Message()
message.topic, message.body, message.tag = "quickstart", b"hello from Python", "hello"
print("sent", producer.send(message).message_id)

consumer = SimpleConsumer(configuration, "quickstart-python", {"quickstart": FilterExpression("*")}, 5, tls_enable=False)
consumer.startup()
for received in consumer.receive(8, 30) or []:  # at most 8, each ours for 30 s
    print("received", received.body)
    consumer.ack(received)
consumer.shutdown()
producer.shutdown()
