/** A real etcd and kube-apiserver on loopback, with one administrator's token. Without controllers: what only they do is not there. */
import { generateKeyPairSync } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort, startPeer } from "./peers.ts";

export interface RealApiServer {
  readonly url: string;
  readonly token: string;
  /** Of kube-apiserver. */
  readonly pid: number;
  /** What it counts, in Prometheus' text format. */
  metrics(): Promise<string>;
  stop(): Promise<void>;
}

const TOKEN = "conformance-admin-token";

/** A port that was free may be taken by the time it is listened on: then with others. */
const TRIES = 3;

export async function startRealApiServer(): Promise<RealApiServer> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await startOnce();
    } catch (error) {
      if (attempt >= TRIES || !String(error).includes("address already in use")) throw error;
    }
  }
}

async function startOnce(): Promise<RealApiServer> {
  const folder = mkdtempSync(join(tmpdir(), "drayage-real-api-"));
  const [etcdPort, etcdPeerPort, apiPort] = [await freePort(), await freePort(), await freePort()];
  const etcdUrl = `http://127.0.0.1:${etcdPort}`;
  const etcdPeerUrl = `http://127.0.0.1:${etcdPeerPort}`;
  const etcd = await startPeer(
    "etcd",
    [
      ...["--name", "e", "--data-dir", join(folder, "etcd"), "--unsafe-no-fsync", "--log-level", "error"],
      ...["--listen-client-urls", etcdUrl, "--advertise-client-urls", etcdUrl, "--listen-peer-urls", etcdPeerUrl],
      ...["--initial-advertise-peer-urls", etcdPeerUrl, "--initial-cluster", `e=${etcdPeerUrl}`],
    ],
    async () => (await fetch(`${etcdUrl}/health`)).ok,
  );
  const keyPath = join(folder, "sa.key");
  const publicPath = join(folder, "sa.pub");
  const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  mkdirSync(join(folder, "certs"));
  writeFileSync(keyPath, privateKey.export({ type: "pkcs1", format: "pem" }));
  writeFileSync(publicPath, publicKey.export({ type: "spki", format: "pem" }));
  writeFileSync(join(folder, "tokens.csv"), `${TOKEN},kubernetes-admin,admin,"system:masters"\n`);
  const url = `https://127.0.0.1:${apiPort}`;
  try {
    const api = await startPeer(
      "kube-apiserver",
      [
        `--etcd-servers=${etcdUrl}`,
        "--bind-address=127.0.0.1",
        `--secure-port=${apiPort}`,
        `--cert-dir=${join(folder, "certs")}`,
        `--token-auth-file=${join(folder, "tokens.csv")}`,
        "--authorization-mode=RBAC",
        "--endpoint-reconciler-type=none",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        `--service-account-key-file=${publicPath}`,
        `--service-account-signing-key-file=${keyPath}`,
      ],
      async () => (await ask(`${url}/readyz`)).status === 200,
    );
    return {
      url,
      token: TOKEN,
      pid: api.process.pid ?? 0,
      metrics: async () => (await ask(`${url}/metrics`)).text,
      stop: async () => {
        await api.stop();
        await etcd.stop();
        rmSync(folder, { recursive: true, force: true });
      },
    };
  } catch (error) {
    await etcd.stop();
    throw error;
  }
}

function ask(url: string): Promise<{ readonly status: number | undefined; readonly text: string }> {
  return new Promise((resolve, reject) => {
    const call = request(url, { rejectUnauthorized: false, headers: { authorization: `Bearer ${TOKEN}` } }, (answer) => {
      const chunks: Buffer[] = [];
      answer.on("data", (chunk: Buffer) => chunks.push(chunk));
      answer.once("end", () => resolve({ status: answer.statusCode, text: Buffer.concat(chunks).toString() }));
      answer.once("error", reject);
    });
    call.once("error", reject);
    call.end();
  });
}
