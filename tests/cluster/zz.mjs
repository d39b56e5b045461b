import { exitOnSignals } from '../support/program.mjs';
import { unlimited } from '../support/server.mjs';
import { startCluster } from './cluster.mjs';
import { users, gather } from './stage.mjs';
import { tail } from './people.mjs';
exitOnSignals();
const cluster = await startCluster({ env: {...unlimited, PRESENCE_GRACE:'3s', RUST_LOG: 'info,tutti_common::redis=debug,tutti_gateway=debug'} });
const cast = await users(cluster.url, 9);
const urls = cluster.gateways.map(g=>g.url);
const gs=[];
for (let p=0;p<3;p++) gs.push(await gather(cast.slice(3*p,3*p+3), {urls}));
for (const g of gs) g.members[0].play();
await Promise.all(gs.map(g=>g.recovered(performance.now())));
const [redis]=cluster.redis.servers;
for (let round=0; round<6; round++) {
  await redis.kill(); await new Promise(r=>setTimeout(r,6000));
  const since=performance.now();
  await redis.start();
  const r = await Promise.allSettled(gs.map(g=>g.recovered(since, 8000)));
  console.log('round', round, new Date().toISOString(), r.map(x=>x.status==='fulfilled'?x.value.toFixed(0):x.reason.message.split('\n').slice(1).filter(l=>!l.startsWith(' ')).map(l=>l.slice(0,40)).join('|')));
  if (r.some(x=>x.status!=='fulfilled')) {
    for (const g of gs) console.log(g.room_id, g.members.map(m=>m.name+':'+(m.held.at(-1)?.position)+' '+m.syncs.at(-1)?.position+' '+JSON.stringify(m.syncs.at(-1)?.error)));
    console.log(await redis.ask('PUBSUB','CHANNELS')); for (const g of gs) console.log(await redis.ask('PUBSUB','NUMSUB','tutti:{'+g.room_id+'}:events'), await redis.ask('PUBSUB','SHARDNUMSUB','tutti:{'+g.room_id+'}:events'));
    console.log(await redis.ask('CLIENT','LIST'));
    const {cpSync,readdirSync}=await import('node:fs'); for (const f of readdirSync(cluster.folder)) if (f.endsWith('.log')) cpSync(cluster.folder+'/'+f,'/tmp/cllogs/'+f);
    break;
  }
}
for (const g of gs) for (const m of g.members) m.leave();
await cluster.stop(); process.exit(0);
