/** The stack's own look at KMS, with the key administrator's credentials: it reads public keys and nothing else. */
import { KMSClient } from '@aws-sdk/client-kms';
import type { KmsAccess } from './parts.ts';

/** Runs with a client that is closed afterwards. */
export async function withAdminKms<T>(kms: KmsAccess, use: (client: KMSClient) => Promise<T>): Promise<T> {
  process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] = 'true';
  const { id: accessKeyId, secret: secretAccessKey } = kms.keys.admin;
  const client = new KMSClient({
    endpoint: kms.url,
    region: kms.region,
    credentials: { accessKeyId, secretAccessKey },
  });
  try {
    return await use(client);
  } finally {
    client.destroy();
  }
}
