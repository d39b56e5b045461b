// Tutti on a PostgreSQL role that owns its database and may do nothing else, as deploy/postgres/database.sql makes it.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after } from 'node:test';
import { api } from '../support/api.mjs';
import { REPOSITORY } from '../support/program.mjs';
import { runTutti, startTutti, temporaryFolder, unlimited } from '../support/server.mjs';
import { story } from '../support/story.mjs';
import { startPostgres } from '../cluster/engines.mjs';

const folder = temporaryFolder();
const postgres = await startPostgres(folder);
after(() => postgres.stop());

/** @param {string} url @param {string[]} args */
const psql = (url, ...args) =>
  execFileSync('psql', ['-X', '-q', '-t', '-A', '-d', url, ...args], {
    env: { ...process.env, TUTTI_PASSWORD_FILE: join(folder, 'password') },
    encoding: 'utf8',
  }).trim();

story('the schema is made and the program works under a role that only owns its database', async () => {
  // A quote, since the password is in a statement.
  writeFileSync(join(folder, 'password'), "it's a secret");
  psql(postgres.url, '-f', join(REPOSITORY, 'deploy', 'postgres', 'database.sql'));
  const rights = psql(postgres.url, '-c', "SELECT rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls FROM pg_roles WHERE rolname = 'tutti'");
  assert.equal(rights, 'f|f|f|f|f');
  const owned = psql(postgres.url, '-c', "SELECT string_agg(datname, ' ') FROM pg_database JOIN pg_roles r ON r.oid = datdba WHERE rolname = 'tutti'");
  assert.equal(owned, 'tutti');
  psql(postgres.url, '-c', 'CREATE ROLE stranger LOGIN');
  const url = postgres.url.replace(/postgres@(.*)postgres$/, 'stranger@$1tutti');
  assert.throws(() => psql(url, '-c', 'SELECT 1'), /permission denied/, 'others may not even connect');

  const DATABASE_URL = postgres.url.replace(/postgres@(.*)postgres$/, 'tutti@$1tutti');
  const migrated = await runTutti(['migrate'], { DATABASE_URL });
  assert.equal(migrated.code, 0, migrated.stderr);
  const tutti = await startTutti({ env: { ...unlimited, DATABASE_URL } });
  try {
    const body = { username: 'ann', email: 'ann@a.example', password: 'a long enough password' };
    const { body: ann } = await api(tutti.url)('POST', '/api/v1/auth/register', { body });
    // By the trigram index of pg_trgm.
    const found = await api(tutti.url)('GET', '/api/v1/friends/search?q=nn', { token: ann.access_token });
    assert.equal(found.status, 200);
  } finally {
    await tutti.stop();
  }
});
