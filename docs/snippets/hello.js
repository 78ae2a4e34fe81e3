// npm install rocketmq-client-nodejs; then: node hello.js
const { Producer, SimpleConsumer } = require('rocketmq-client-nodejs');
// The client's own logger writes below ~/logs, and complains when its producer logs once more after closing it.
const logger = { ...console, debug() {}, info() {} };
const common = { endpoints: '127.0.0.1:8081', namespace: '', logger };

(async () => {
  const producer = new Producer({ ...common, topics: ['quickstart'] });
  await producer.startup();
  const receipt = await producer.send({ topic: 'quickstart', tag: 'hello', body: Buffer.from('hello from Node.js') });
  console.log('sent', receipt.messageId);

  const consumer = new SimpleConsumer({ ...common, consumerGroup: 'quickstart-node', subscriptions: new Map([['quickstart', '*']]) });
  await consumer.startup();
  for (const message of await consumer.receive(8, 30000)) {  // at most 8, each ours for 30 s
    console.log('received', message.body.toString());
    await consumer.ack(message);
  }
  await consumer.shutdown();
  await producer.shutdown();
})();
