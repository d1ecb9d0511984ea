/**
 * Who may open encrypted volumes: as with a key server that knows its tenants by tokens (ceph-csi's `vaulttokens`), each namespace has a Secret with its token and a ConfigMap
 * with its settings, and the driver looks for both in the namespace of the claim: when a volume is made, and each time it is mounted.
 *
 * The bytes of a volume are not encrypted here. What is kept is the digest of the token it was made with, and without that token it is neither copied nor mounted.
 */
import { createHash } from "node:crypto";
import { csiError } from "@drayage/protocols/csi";

export const TENANT_SECRET = "ceph-csi-kms-token";
export const TENANT_CONFIG = "ceph-csi-kms-config";
const TOKEN = "token";

/** What the driver reads of the cluster, as its service account may. */
export interface TenantReader {
  /** Values of a Secret by key, decoded; undefined when there is none. */
  secret(namespace: string, name: string): Promise<Readonly<Record<string, string>> | undefined>;
  hasConfigMap(namespace: string, name: string): Promise<boolean>;
  /** The namespace whose claim has the volume now; a volume that is handed to another claim gets another tenant. */
  tenantOf(volumeId: string): Promise<string | undefined>;
}

/** The digest of a tenant's token. Throws INVALID_ARGUMENT naming what is not there. */
export async function tenantKey(reader: TenantReader | undefined, namespace: string | undefined, action: string): Promise<string> {
  const refuse = (why: string): Error =>
    csiError("INVALID_ARGUMENT", `Cannot ${action}: it is encrypted, and ${why}`, {
      hint: `Secret "${TENANT_SECRET}" (key "${TOKEN}") and ConfigMap "${TENANT_CONFIG}" must be in the namespace of its claim.`,
    });
  if (reader === undefined || namespace === undefined) throw refuse("nobody says whose it is");
  const token = (await reader.secret(namespace, TENANT_SECRET))?.[TOKEN];
  if (token === undefined || token === "") throw refuse(`secret "${namespace}/${TENANT_SECRET}" is not there or has no "${TOKEN}"`);
  if (!(await reader.hasConfigMap(namespace, TENANT_CONFIG))) throw refuse(`config map "${namespace}/${TENANT_CONFIG}" is not there`);
  return createHash("sha256").update(token).digest("hex");
}
