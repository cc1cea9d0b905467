/**
 * docker-compose.yml: valid by the Compose specification, and true to the walls and to the processes that it starts.
 * Past 10 KB because its tables are the whole statement of who is given and who reaches what.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Ajv } from 'ajv';
import { readCustodyEnv } from '../../api/custody/env.ts';
import { readWebhooksEnv } from '../../api/webhooks/env.ts';
import { readIngestEnv } from '../../api/ingest/env.ts';
import { registryAddress } from '../../contracts/deploy.ts';
import { readDevnetEnv } from '../../dev/devnet/env.ts';
import { readEnv as readKmsEnv } from '../../dev/kms/env.ts';
import { packageRoot } from '../../dev/root.ts';
import { readMigrationEnv } from '../../sql/env.ts';
import { readAnchoringEnv } from '../../workers/anchoring/env.ts';
import { readKeyAdminEnv } from '../../workers/keyadmin/env.ts';
import { readMigrationWorkerEnv } from '../../workers/migration/env.ts';
import { readReconcileEnv } from '../../workers/reconcile/env.ts';
import { readRecoveryEnv } from '../../workers/recovery/env.ts';
import { readNotifyEnv } from '../../workers/notify/env.ts';
import { readSealingEnv } from '../../workers/sealing/env.ts';
import { readSigningEnv } from '../../workers/signing/env.ts';
import { readVetoEnv } from '../../workers/veto/env.ts';
import { SEARCH_ATTRIBUTES } from '../../workflows/attributes.ts';
import { developmentValues, environmentOf, filled, variablesIn, written, type Service } from './compose-file.ts';

const services = Object.entries(written.services);
const isSecret = (variable: string): boolean => /(PASSWORD|SECRET|SECRET_ACCESS_KEY|PROMISE_KEY)$/.test(variable);
const PROCESSES = [
  'api',
  'custody',
  'webhooks',
  'sealing',
  'signing',
  'anchoring',
  'keyadmin',
  'migration',
  'notify',
  'veto',
  'migrate',
];
/** Started by hand, each in a profile that nothing else is in. */
const BY_HAND = ['recovery', 'reconcile'];
const OWN = [...PROCESSES, ...BY_HAND];
const WORKERS = ['sealing', 'signing', 'anchoring', 'keyadmin', 'migration'];

/** Its own networks; with `network_mode: service:x` it sits in x's. */
function networksOf(service: Service): string[] {
  const host = /^service:(.+)$/.exec(service.network_mode ?? '')?.[1];
  return (host === undefined ? service.networks : written.services[host]?.networks) ?? [];
}

/** Who can open a connection to it: everybody with a network in common. */
function reachedBy(target: string): string[] {
  const networks = networksOf(written.services[target] ?? { image: '' });
  assert.ok(networks.length > 0, `${target} has networks`);
  return services
    .filter(([name, service]) => name !== target && networksOf(service).some((network) => networks.includes(network)))
    .map(([name]) => name)
    .toSorted();
}

describe('docker-compose.yml', () => {
  describe('is valid by the schema of the Compose specification', () => {
    // dclint keeps the specification's schema; its package exports no path to it.
    const folder = dirname(fileURLToPath(import.meta.resolve('dclint/package.json')));
    const schema = JSON.parse(readFileSync(join(folder, 'schemas/compose.schema.json'), 'utf8')) as object;
    // It names its draft with https, which is not the draft's name.
    const validate = new Ajv({ strict: false, validateFormats: false }).compile({
      ...schema,
      $schema: 'http://json-schema.org/draft-07/schema#',
    });

    it('as it is written', () => {
      assert.equal(validate(written), true, JSON.stringify(validate.errors));
    });

    for (const [what, broken] of [
      ['a misspelt member', { enviroment: {} }],
      ['a number as an image', { image: 5 }],
      ['an unknown condition', { depends_on: { migrate: { condition: 'service_finished' } } }],
    ] as const) {
      it(`and ${what} would not be`, () => {
        const api = { ...written.services['api'], ...broken };
        assert.equal(validate({ ...written, services: { ...written.services, api } }), false);
      });
    }
  });

  describe('gives each process what it needs', () => {
    const readers: Record<string, (env: NodeJS.ProcessEnv) => unknown> = {
      api: readIngestEnv,
      custody: readCustodyEnv,
      webhooks: readWebhooksEnv,
      sealing: readSealingEnv,
      signing: readSigningEnv,
      anchoring: readAnchoringEnv,
      keyadmin: readKeyAdminEnv,
      migration: readMigrationWorkerEnv,
      notify: readNotifyEnv,
      veto: readVetoEnv,
      migrate: readMigrationEnv,
      recovery: readRecoveryEnv,
      reconcile: readReconcileEnv,
      kms: readKmsEnv,
      devnet: readDevnetEnv,
    };
    const required: Record<string, string> = {
      api: 'PROMISE_KEY',
      custody: 'CUSTODY_ORIGIN',
      webhooks: 'CLERK_WEBHOOK_SIGNING_SECRET',
      sealing: 'KIFF_HOST',
      signing: 'JOURNAL_URL',
      anchoring: 'FROM_BLOCK',
      keyadmin: 'KMS_ADMIN_ARN',
      migration: 'TENANT_LOGIN_SECRET',
      notify: 'VETO_ORIGIN',
      veto: 'DATABASE_URL',
      migrate: 'KIFF_API_PASSWORD',
      recovery: 'FROM_BLOCK',
      reconcile: 'PRODUCT_SUPERUSER_URL',
      kms: 'KMS_PRINCIPALS',
      devnet: 'CONTRACT',
    };
    for (const [name, read] of Object.entries(readers)) {
      it(`${name} accepts its environment, and not with ${required[name]} missing`, () => {
        const environment = environmentOf(name);
        read(environment);
        const { [required[name] ?? '']: taken, ...rest } = environment;
        assert.ok(taken);
        assert.throws(() => read(rest), new RegExp(required[name] ?? ''));
      });
    }

    it('and starts a program that exists', () => {
      const entries = services.flatMap(([name, { entrypoint, command }]) =>
        [...(entrypoint ?? []), ...(command ?? [])].flatMap((word) =>
          /^dist\/.+\.js$/.test(word) ? [[name, word] as const] : [],
        ),
      );
      assert.deepEqual(entries.map(([name]) => name).toSorted(), [...OWN, 'devnet', 'kms'].toSorted());
      for (const [name, entry] of entries) {
        const source = entry.replace(/^dist\//, '').replace(/\.js$/, '.ts');
        assert.ok(existsSync(join(packageRoot, source)), `${name}: ${source}`);
      }
    });
  });

  describe('gives each process its own credentials and nothing else', () => {
    const temporal = ['TEMPORAL_ADDRESS', 'TEMPORAL_NAMESPACE'];
    const kms = [
      'AWS_ACCESS_KEY_ID',
      'AWS_EC2_METADATA_DISABLED',
      'AWS_ENDPOINT_URL_KMS',
      'AWS_REGION',
      'AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED',
      'AWS_SECRET_ACCESS_KEY',
    ];
    const roles = ['KMS_SIGNER_ARN', 'KMS_RELAYER_ARN', 'KMS_ADMIN_ARN', 'KMS_BREAK_GLASS_ARN'];
    const chain = ['CHAIN_ID', 'CONTRACT'];
    const names: Record<string, string[]> = {
      api: [
        'DATABASE_URL',
        'TENANT_LOGIN_SECRET',
        'PROMISE_KEY',
        'PROMISE_PUBLIC_KEYS',
        'API_HOST',
        'API_PORT',
        'CHAIN_ID',
        'CONTRACT',
        'CLERK_JWT_KEY',
        'CLERK_AUTHORIZED_PARTIES',
        'KIFF_INCARNATION',
      ],
      custody: [
        'DATABASE_URL',
        'CUSTODY_ORIGIN',
        'CUSTODY_LOGIN_SECRET',
        'API_HOST',
        'API_PORT',
        'CHAIN_ID',
        'CONTRACT',
        'CLERK_JWT_KEY',
        'CLERK_AUTHORIZED_PARTIES',
        'KIFF_INCARNATION',
      ],
      webhooks: ['DATABASE_URL', 'CLERK_WEBHOOK_SIGNING_SECRET', 'API_HOST', 'API_PORT', 'KIFF_INCARNATION'],
      sealing: [...temporal, 'DATABASE_URL', 'KIFF_HOST', 'KIFF_INCARNATION'],
      signing: [
        ...temporal,
        ...kms,
        ...roles,
        ...chain,
        'BASE_RPC_URLS',
        'DATABASE_URL',
        'JOURNAL_URL',
        'FROM_BLOCK',
        'KIFF_HOST',
        'KIFF_INCARNATION',
        'CLERK_JWT_KEY',
        'CLERK_AUTHORIZED_PARTIES',
        'CUSTODY_ORIGIN',
        'PASSKEY_MIN_AGE_SECONDS',
      ],
      anchoring: [...temporal, ...kms, ...chain, 'BASE_RPC_URLS', 'DATABASE_URL', 'FROM_BLOCK', 'KIFF_INCARNATION'],
      keyadmin: [...temporal, ...kms, ...roles, 'DATABASE_URL', 'KIFF_INCARNATION'],
      migration: [...temporal, 'KIFF_INCARNATION', 'DATABASE_URL', 'TENANT_LOGIN_SECRET', 'CUSTODY_LOGIN_SECRET'],
      recovery: [
        ...temporal,
        ...chain,
        'BASE_RPC_URL',
        'DATABASE_URL',
        'JOURNAL_URL',
        'FROM_BLOCK',
        'KIFF_INCARNATION',
      ],
      reconcile: [...kms, ...roles, 'PRODUCT_SUPERUSER_URL', 'JOURNAL_SUPERUSER_URL'],
      notify: ['DATABASE_URL', 'KIFF_INCARNATION', 'VETO_ORIGIN', 'CUSTODY_ORIGIN', 'MAIL_URL', 'MAIL_FROM'],
      veto: ['DATABASE_URL', 'KIFF_INCARNATION', 'API_HOST', 'API_PORT'],
    };
    for (const [name, expected] of Object.entries(names)) {
      it(`${name}: ${expected.length} variables`, () => {
        assert.deepEqual(Object.keys(environmentOf(name)).toSorted(), expected.toSorted());
      });
    }

    it('a secret is known to its owners only', () => {
      const owners: Record<string, string[]> = {
        KIFF_API_PASSWORD: ['api', 'migrate'],
        KIFF_CUSTODY_PASSWORD: ['custody', 'migrate'],
        KIFF_OPERATOR_PASSWORD: ['migrate'],
        KIFF_NOTIFY_PASSWORD: ['migrate', 'notify'],
        KIFF_VETO_PASSWORD: ['migrate', 'veto'],
        KIFF_WEBHOOKS_PASSWORD: ['migrate', 'webhooks'],
        CLERK_WEBHOOK_SIGNING_SECRET: ['webhooks'],
        KIFF_SEALING_PASSWORD: ['migrate', 'sealing'],
        KIFF_SIGNING_PASSWORD: ['migrate', 'signing'],
        KIFF_ANCHORING_PASSWORD: ['anchoring', 'migrate'],
        KIFF_KEYADMIN_PASSWORD: ['keyadmin', 'migrate'],
        KIFF_JOURNAL_PASSWORD: ['migrate', 'signing'],
        KIFF_JOURNAL_MIGRATE_PASSWORD: ['migrate'],
        KIFF_RECOVERY_PASSWORD: ['migrate', 'recovery'],
        KIFF_JOURNAL_RECOVERY_PASSWORD: ['migrate', 'recovery'],
        KIFF_MIGRATE_PASSWORD: ['migrate', 'migration'],
        PRODUCT_DB_SUPERUSER_PASSWORD: ['migrate', 'product-db', 'reconcile'],
        JOURNAL_DB_SUPERUSER_PASSWORD: ['journal-db', 'migrate', 'reconcile'],
        TEMPORAL_DB_PASSWORD: ['temporal', 'temporal-db', 'temporal-schema'],
        TENANT_LOGIN_SECRET: ['api', 'migrate', 'migration'],
        CUSTODY_LOGIN_SECRET: ['custody', 'migrate', 'migration'],
        PROMISE_KEY: ['api'],
        SIGNER_AWS_SECRET_ACCESS_KEY: ['kms', 'signing'],
        RELAYER_AWS_SECRET_ACCESS_KEY: ['anchoring', 'kms'],
        ADMIN_AWS_SECRET_ACCESS_KEY: ['devnet', 'keyadmin', 'kms', 'reconcile'],
      };
      const used = new Map<string, string[]>();
      for (const [name, service] of services) {
        for (const variable of new Set(variablesIn(service).filter(isSecret))) {
          used.set(variable, [...(used.get(variable) ?? []), name].toSorted());
        }
      }
      assert.deepEqual(Object.fromEntries(used), owners);
    });

    it('each has a database login of its own', () => {
      for (const [name, login] of [
        ['api', 'kiff_api'],
        ['custody', 'kiff_custody'],
        ['webhooks', 'kiff_webhooks'],
        ['sealing', 'kiff_sealing'],
        ['signing', 'kiff_signing'],
        ['anchoring', 'kiff_anchoring'],
        ['keyadmin', 'kiff_keyadmin'],
        ['migration', 'kiff_migrate'],
        ['recovery', 'kiff_recovery'],
        ['notify', 'kiff_notify'],
        ['veto', 'kiff_veto'],
      ] as const) {
        const url = new URL(environmentOf(name)['DATABASE_URL'] ?? '');
        assert.deepEqual([url.username, url.hostname, url.pathname], [login, 'product-db', '/kiff']);
      }
      for (const [name, login] of [
        ['signing', 'kiff_journal'],
        ['recovery', 'kiff_journal_recovery'],
      ] as const) {
        const journal = new URL(environmentOf(name)['JOURNAL_URL'] ?? '');
        assert.deepEqual(
          [journal.username, journal.hostname, journal.pathname],
          [login, 'journal-db', '/kiff_journal'],
        );
      }
    });

    it('no secret stands in the file itself', () => {
      for (const [name, service] of services) {
        for (const [variable, value] of Object.entries(service.environment ?? {})) {
          if (!/PASSWORD|PWD|SECRET|PROMISE_KEY|_URL$/.test(variable)) continue;
          if (/_URL/.test(variable) && !value.includes('@')) continue;
          assert.match(value, /\$\{[A-Z_]+:\?/, `${name}: ${variable}`);
        }
      }
    });
  });

  describe('lets nobody reach what is not theirs', () => {
    for (const [api, ingress] of [
      ['api', 'ingress'],
      ['custody', 'custody-ingress'],
      ['webhooks', 'webhook-ingress'],
      ['veto', 'veto-ingress'],
    ] as const) {
      it(`${api} reaches its database and answers its ingress, and has no way out`, () => {
        assert.deepEqual(reachedBy(api), [ingress, 'product-db'].toSorted());
        assert.ok(networksOf(written.services[api] as Service).every((name) => written.networks[name]?.internal));
      });
    }

    for (const [target, sources] of Object.entries({
      'journal-db': ['migrate', 'reconcile', 'recovery', 'signing'],
      'product-db': [
        'anchoring',
        'api',
        'custody',
        'keyadmin',
        'migrate',
        'migration',
        'notify',
        'reconcile',
        'recovery',
        'sealing',
        'signing',
        'veto',
        'webhooks',
      ],
      'temporal-db': ['temporal', 'temporal-schema'],
      temporal: [...WORKERS, 'recovery', 'temporal-db', 'temporal-schema', 'temporal-setup', 'temporal-ui'],
      kms: ['anchoring', 'devnet', 'keyadmin', 'kms-port', 'reconcile', 'signing'],
      anvil: ['anchoring', 'devnet', 'recovery', 'signing'],
    })) {
      it(`${target} is reached by ${sources.length} services`, () => {
        assert.deepEqual(reachedBy(target), sources.toSorted());
      });
    }

    it('only what calls KMS or Base, tells people, or serves them, has a way out', () => {
      const ways = services.filter(([, service]) =>
        networksOf(service).some((name) => !written.networks[name]?.internal),
      );
      const expected = [
        'anchoring',
        'anvil',
        'custody-ingress',
        'devnet',
        'ingress',
        'keyadmin',
        'kms',
        'kms-port',
        'notify',
        'reconcile',
        'recovery',
        'signing',
        'temporal-ui',
        'veto-ingress',
        'webhook-ingress',
      ];
      assert.deepEqual(ways.map(([name]) => name).toSorted(), expected);
    });

    it('only the four ingresses and the Temporal UI are published, on this machine alone unless told otherwise', () => {
      const published = services.flatMap(([name, { ports }]) =>
        (ports ?? []).map((port) => [name, filled(port, {})] as const),
      );
      assert.deepEqual(published.map(([name]) => name).toSorted(), [
        'custody-ingress',
        'ingress',
        'temporal-ui',
        'veto-ingress',
        'webhook-ingress',
      ]);
      for (const [, port] of published) assert.match(port, /^127\.0\.0\.1:/);
    });
  });

  describe('runs our processes with as little as they need', () => {
    for (const name of OWN) {
      it(name, () => {
        const service = written.services[name] as Service;
        assert.equal(service.read_only, true);
        assert.deepEqual(service.cap_drop, ['ALL']);
        assert.deepEqual(service.security_opt, ['no-new-privileges:true']);
        assert.equal(service.build?.target, 'production');
        assert.deepEqual(service.profiles, BY_HAND.includes(name) ? [name] : undefined);
      });
    }

    it('and what is started by hand is not started again when it has ended', () => {
      for (const name of BY_HAND) {
        assert.equal(written.services[name]?.restart, 'no');
        for (const [other, { depends_on: needs = {} }] of services)
          assert.ok(!(name in needs), `${other} needs ${name}`);
      }
    });

    it('without root, by the image', () => {
      const stages = readFileSync(join(packageRoot, 'Dockerfile'), 'utf8').split(/^FROM /m);
      for (const target of ['production', 'dev']) {
        const stage = stages.find((lines) => new RegExp(`^\\S+ AS ${target}\n`).test(lines));
        assert.equal(stage?.match(/^USER (.+)$/gm)?.at(-1), 'USER node', target);
      }
    });

    it('and the stand-ins only when the profile dev is asked for', () => {
      const stagedForDev = services
        .filter(([, { profiles }]) => profiles?.includes('dev') === true)
        .map(([name]) => name);
      assert.deepEqual(stagedForDev.toSorted(), ['anvil', 'devnet', 'kms', 'kms-port']);
      for (const [name, { depends_on: needs = {} }] of services) {
        if (stagedForDev.includes(name)) continue;
        for (const [needed, { required }] of Object.entries(needs)) {
          assert.ok(!stagedForDev.includes(needed) || required === false, `${name} needs ${needed}`);
        }
      }
    });

    it('from images of one fixed version each', () => {
      for (const [name, { image }] of services) assert.match(filled(image, {}), /:\d+\.\d+/, name);
    });
  });

  describe('development values', () => {
    it('give every variable that has no default', () => {
      for (const [name, service] of services) {
        assert.doesNotThrow(() => filled(JSON.stringify(service), developmentValues), name);
      }
    });

    it('name the contract of this version', () => {
      const { CONTRACT, PERIOD_SECONDS, COOLING_OFF_SECONDS } = developmentValues;
      assert.equal(CONTRACT, registryAddress(Number(PERIOD_SECONDS), Number(COOLING_OFF_SECONDS)), 'dev/compose.env');
    });
  });

  describe('scripts', () => {
    for (const name of ['temporal-schema', 'temporal-setup']) {
      it(`${name} is a shell script`, () => {
        const script = filled(written.configs[name]?.content ?? '', {});
        assert.ok(script.includes('set -eu'));
        const { status, stderr } = spawnSync('sh', ['-n'], { input: script, encoding: 'utf8' });
        assert.equal(status, 0, stderr);
      });
    }

    it('register the search attributes that the sealing worker asks for', () => {
      const list = /for attribute in (.+); do/.exec(written.configs['temporal-setup']?.content ?? '')?.[1] ?? '';
      const expected = Object.entries(SEARCH_ATTRIBUTES).map(([name, type]) => `${name}:${type}`);
      assert.deepEqual(list.split(' '), expected);
    });
  });
});
