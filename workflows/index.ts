/** All workflows, as the worker's bundle takes them. */
export { anchorWallet } from './anchorWallet.ts';
export { command } from './command.ts';
export { custodyMigration } from './custodyMigration.ts';
export { endLog } from './endLog.ts';
export { retireKey } from './retireKey.ts';
export { seal } from './seal.ts';
export { sealHour } from './sealHour.ts';
export { tenantOnboarding } from './tenantOnboarding.ts';
