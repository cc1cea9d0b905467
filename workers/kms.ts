/** The KMS client of a process: region, endpoint and credentials come from AWS's standard environment variables. */
import { KMSClient } from '@aws-sdk/client-kms';

/** Temporal retries; the SDK's own tries stay few and short, so that a slow KMS shows in the Temporal UI. */
export function createKms(): KMSClient {
  return new KMSClient({ maxAttempts: 2, requestHandler: { requestTimeout: 5_000, connectionTimeout: 2_000 } });
}
