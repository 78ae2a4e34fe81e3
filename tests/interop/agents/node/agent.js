'use strict';
// Interop agent for the official Node.js client: executes the line protocol of
// tests/interop/README.md on stdin and stdout.

const path = require('node:path');
const readline = require('node:readline');

// The packages are installed outside the source tree; the directory is told by the harness.
const modules = process.env.INTEROP_NODE_MODULES;
const rocketmq = require(path.join(modules, 'rocketmq-client-nodejs'));
const clientVersion = require(path.join(modules, 'rocketmq-client-nodejs', 'package.json')).version;
const tls = process.argv[2] === '--tls';
const SQL = 2; // FilterType.SQL, which the package does not export

const write = value => process.stdout.write(JSON.stringify(value) + '\n');
const log = level => (...args) => console.error(new Date().toISOString(), level, ...args);
const logger = { info: log('INFO'), warn: log('WARN'), error: log('ERROR'), debug() {} };

const clients = new Map();
const holds = new Map(); // client name -> { promise, release }
const views = new Map();
let nextHandle = 0;

function describe(view) {
  return {
    message_id: view.messageId,
    topic: view.topic,
    body: view.body.toString('base64'),
    // The generated accessor gives '' for an absent tag.
    tag: view.tag || undefined,
    keys: [ ...view.keys ],
    properties: Object.fromEntries(view.properties),
    attempt: view.deliveryAttempt,
  };
}

async function onDelivery(r, view) {
  if (view.corrupted) throw new Error(`corrupted message ${view.messageId}`);
  write({ event: 'delivery', client: r.client, message: describe(view) });
  if (r.hold) await holds.get(r.client).promise;
  return view.deliveryAttempt <= (r.fail_attempts ?? 0)
    ? rocketmq.ConsumeResult.FAILURE : rocketmq.ConsumeResult.SUCCESS;
}

async function start(r) {
  const common = {
    endpoints: r.endpoint, namespace: '', sslEnabled: tls, logger, requestTimeout: r.request_timeout_ms,
  };
  const consumer = { ...common, consumerGroup: r.group, subscriptions: new Map(Object.entries(r.subscriptions ?? {}).map(([topic, text]) => [topic, r.sql ? new rocketmq.FilterExpression(text, SQL) : text])) };
  let client;
  switch (r.kind) {
    case 'producer':
      client = new rocketmq.Producer({ ...common, topics: r.topics });
      break;
    case 'simple':
      client = new rocketmq.SimpleConsumer({ ...consumer, awaitDuration: r.await_ms });
      break;
    case 'push': {
      let release;
      holds.set(r.client, { promise: new Promise(resolve => { release = resolve; }), release });
      client = new rocketmq.PushConsumer({ ...consumer, messageListener: { consume: view => onDelivery(r, view) } });
      break;
    }
    default:
      throw new Error(`unknown kind ${r.kind}`);
  }
  await client.startup();
  clients.set(r.client, client);
}

async function execute(r) {
  const client = clients.get(r.client);
  switch (r.op) {
    case 'start':
      return await start(r);
    case 'send': {
      const receipt = await client.send({
        topic: r.topic, body: Buffer.from(r.body, 'base64'), tag: r.tag, keys: r.keys,
        properties: r.properties ? new Map(Object.entries(r.properties)) : undefined,
      });
      return { message_id: receipt.messageId };
    }
    case 'receive': {
      const received = await client.receive(r.max, r.invisible_ms);
      return {
        messages: received.map(view => {
          if (view.corrupted) throw new Error(`corrupted message ${view.messageId}`);
          views.set(++nextHandle, view);
          return { handle: nextHandle, ...describe(view) };
        }),
      };
    }
    case 'ack':
      return await client.ack(views.get(r.handle));
    case 'change_invisible':
      return await client.changeInvisibleDuration(views.get(r.handle), r.invisible_ms);
    case 'release':
      return holds.get(r.client).release();
    case 'stop':
      return await client.shutdown();
    default:
      throw new Error(`unknown op ${r.op}`);
  }
}

async function answer(r) {
  try {
    const values = await execute(r);
    write({ id: r.id, ok: true, ...values });
  } catch (error) {
    console.error(error);
    write({ id: r.id, ok: false, error: String(error?.message ?? error) });
  }
}

// The client has promises that nobody awaits; while the server is down they must not end the process.
process.on('unhandledRejection', error => console.error('unhandled rejection', error));

write({ event: 'hello', language: 'node', client_version: clientVersion, tls });
const lines = readline.createInterface({ input: process.stdin });
lines.on('line', line => {
  const r = JSON.parse(line);
  if (r.op === 'exit') process.exit(0);
  answer(r);
});
lines.on('close', () => process.exit(0));
