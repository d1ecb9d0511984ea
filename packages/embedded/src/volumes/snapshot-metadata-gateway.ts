/**
 * Stands before the SnapshotMetadata service of a driver, as the field's sidecar does: by TLS, for callers that may read the snapshots of a namespace, and by the names of VolumeSnapshots.
 * Every request has a token, is checked against the API server, and has its names looked up anew.
 */
import { type SnapshotMetadataService, snapshotMetadataServices, volumeSnapshotContents, volumeSnapshots } from "@drayage/api";
import { type Clock, hasCode, type Logger, type RandomSource } from "@drayage/base";
import type { KubeClient } from "@drayage/kube";
import { connectCsi, csiError } from "@drayage/protocols/csi";
import { serveSnapshotMetadata } from "@drayage/protocols/snapshot-metadata";
import { CertificateAuthority } from "../api-server/certificates.ts";

export interface SnapshotMetadataGatewayOptions {
  readonly client: KubeClient;
  readonly driverName: string;
  readonly driverSocket: string;
  /** Where its certificates are kept. */
  readonly directory: string;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
}

export interface SnapshotMetadataGateway {
  /** What tells the cluster of it. */
  readonly manifest: SnapshotMetadataService;
  stop(): void;
}

const HOST = "127.0.0.1";
const AUDIENCE = "drayage-snapshot-metadata";

interface Reviewed {
  readonly status?: {
    readonly authenticated?: boolean;
    readonly allowed?: boolean;
    readonly user?: { readonly username?: string; readonly groups?: readonly string[] };
  };
}

export async function startSnapshotMetadataGateway(options: SnapshotMetadataGatewayOptions): Promise<SnapshotMetadataGateway> {
  const { client, driverName, driverSocket, directory, clock, random, logger } = options;
  const authority = await CertificateAuthority.open(directory, clock, random);
  const pair = await authority.ensure("snapshot-metadata", { subject: "CN=snapshot-metadata", hosts: [HOST] });
  const connection = connectCsi(driverSocket);

  async function handleOf(namespace: string, name: string): Promise<string> {
    const snapshot = await client.find(volumeSnapshots, { namespace, name });
    const bound = snapshot?.status?.boundVolumeSnapshotContentName;
    const content = bound === undefined ? undefined : await client.find(volumeSnapshotContents, { name: bound });
    const handle = content?.status?.snapshotHandle;
    if (snapshot === undefined) throw csiError("NOT_FOUND", `Cannot tell of volume snapshot "${namespace}/${name}": it is not there`);
    if (content === undefined || handle === undefined) throw csiError("UNAVAILABLE", `Cannot tell of volume snapshot "${namespace}/${name}": it is not ready`);
    if (content.spec.driver !== driverName)
      throw csiError("INVALID_ARGUMENT", `Cannot tell of volume snapshot "${namespace}/${name}": it is that of driver "${content.spec.driver}"`);
    return handle;
  }

  const rangesOf = { maxResults: 0, secrets: {} };
  const server = await serveSnapshotMetadata(
    {
      async *allocated({ securityToken, namespace, snapshotName, startingOffset }, signal) {
        await admit(client, securityToken, namespace);
        const snapshotId = await handleOf(namespace, snapshotName);
        yield* connection.snapshotMetadata.GetMetadataAllocated({ ...rangesOf, snapshotId, startingOffset }, { signal });
      },
      async *delta({ securityToken, namespace, baseSnapshotId, targetSnapshotName, startingOffset }, signal) {
        await admit(client, securityToken, namespace);
        const targetSnapshotId = await handleOf(namespace, targetSnapshotName);
        yield* connection.snapshotMetadata.GetMetadataDelta({ ...rangesOf, baseSnapshotId, targetSnapshotId, startingOffset }, { signal });
      },
    },
    { host: HOST, port: 0, ...pair },
  );
  const address = `${HOST}:${server.port}`;
  logger.info("Snapshot metadata is served", { driver: driverName, address });
  return {
    manifest: {
      apiVersion: "cbt.storage.k8s.io/v1beta1",
      kind: "SnapshotMetadataService",
      metadata: { name: driverName },
      spec: { address, audience: AUDIENCE, caCert: Buffer.from(authority.pem).toString("base64") },
    },
    stop: () => {
      server.stop();
      connection.close();
    },
  };
}

/** Tells the cluster, or tells it anew: the port is another one after a restart. */
export async function announce(client: KubeClient, manifest: SnapshotMetadataService): Promise<void> {
  try {
    await client.create(snapshotMetadataServices, manifest);
  } catch (error) {
    if (!hasCode(error, "KUBE_ALREADY_EXISTS")) throw error;
    await client.patch(snapshotMetadataServices, { name: manifest.metadata.name ?? "" }, "merge", { spec: manifest.spec });
  }
}

/** Throws NOT_PERMITTED unless the token is one for this service, of somebody who may read VolumeSnapshots there. */
async function admit(client: KubeClient, token: string, namespace: string): Promise<void> {
  const who = await reviewed(client, "authentication.k8s.io", "tokenreviews", { kind: "TokenReview", spec: { token, audiences: [AUDIENCE] } });
  const { username = "", groups = [] } = who.status?.user ?? {};
  if (who.status?.authenticated !== true) throw csiError("UNAUTHENTICATED", "Cannot tell of snapshots: the token is none for this service");
  const resourceAttributes = { verb: "get", namespace, group: "snapshot.storage.k8s.io", version: "v1", resource: "volumesnapshots" };
  const may = await reviewed(client, "authorization.k8s.io", "subjectaccessreviews", {
    ...{ kind: "SubjectAccessReview", spec: { resourceAttributes, user: username, groups: [...groups] } },
  });
  if (may.status?.allowed !== true)
    throw csiError("PERMISSION_DENIED", `Cannot tell of snapshots in namespace "${namespace}": "${username}" may not read them`);
}

async function reviewed(client: KubeClient, group: string, plural: string, object: Readonly<Record<string, unknown>>): Promise<Reviewed> {
  return await client.request<Reviewed>("POST", `/apis/${group}/v1/${plural}`, { body: { apiVersion: `${group}/v1`, ...object } });
}
