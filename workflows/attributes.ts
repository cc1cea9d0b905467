/** Typed search attributes. They must be registered with the server; the sealing worker checks that when it starts. */
import { defineSearchAttributeKey } from '@temporalio/common';

export const TENANT_ID = defineSearchAttributeKey('TenantId', 'KEYWORD');
/** First second of the period, Unix time. */
export const PERIOD = defineSearchAttributeKey('Period', 'INT');
export const LEVEL = defineSearchAttributeKey('Level', 'KEYWORD');
export const CUSTODY = defineSearchAttributeKey('Custody', 'KEYWORD');

/** Name and type of each, as `temporal operator search-attribute create` takes them. */
export const SEARCH_ATTRIBUTES = { TenantId: 'Keyword', Period: 'Int', Level: 'Keyword', Custody: 'Keyword' } as const;

const CUSTODIES: Readonly<Record<number, string>> = { 1: 'cloud', 2: 'tenant-kms', 3: 'tenant-agent' };

/** As the design calls them, and as `Custody` says. */
export const custodyName = (custody: number): string => CUSTODIES[custody] ?? 'unknown';
