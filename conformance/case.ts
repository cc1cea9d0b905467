/** What a case of the conformance kit is, and the file that lists them. */
import type { Policy } from '../protocol/index.ts';

/** What is verified. Each kind has a grammar and checks of its own (docs/protocol.md). */
export type CaseKind = 'receipt' | 'certificate' | 'bundle' | 'promise' | 'end';

/** One case as its author writes it. */
export interface MadeCase {
  /** Also the name of its file. */
  readonly name: string;
  readonly kind: CaseKind;
  /** The exact bytes. */
  readonly text: string;
  /** The policy that every case has unless given; null: none. */
  readonly policy?: Policy | null;
  /** Receipts that belong to a promise or an end, by the names of their cases. */
  readonly receipts?: readonly string[];
  /** Names of the checks that fail. None: it is accepted. */
  readonly fails: readonly string[];
  /** What is special about it, or wrong with it: one thing. */
  readonly why: string;
}

/** One case as the manifest has it; paths are relative to the manifest. */
export interface ListedCase {
  readonly name: string;
  readonly kind: CaseKind;
  readonly file: string;
  readonly policy: string | null;
  readonly receipts: readonly string[];
  readonly expect: 'accept' | 'reject';
  readonly fails: readonly string[];
  readonly why: string;
}

export interface Manifest {
  readonly format: 'kiff.conformance/1';
  readonly cases: readonly ListedCase[];
}
