/** etcd, API server, controller manager and scheduler. */
import { generateKeyPairSync } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { request } from "node:https";
import { join } from "node:path";
import { systemClock, systemRandom } from "@drayage/base";
import { CertificateAuthority } from "../../packages/embedded/src/api-server/certificates.ts";
import { ADDRESS, API_URL, type Daemon, NODE, run, SERVICE_RANGE, startPeerDaemon, untilReady } from "./machine.ts";

export interface ControlPlane {
  readonly folder: string;
  readonly caPath: string;
  /** Of an administrator. */
  readonly kubeconfigPath: string;
  readonly kubeletKubeconfigPath: string;
  readonly kubeletCertificate: { readonly certificate: string; readonly key: string };
  /** In the order in which they were started. */
  readonly daemons: readonly Daemon[];
}

const ETCD_URL = "http://127.0.0.1:2379";
const ETCD_PEER_URL = "http://127.0.0.1:2380";

/** Who asked what, of pods only: the parts of the control plane and whoever tests have their own ways. */
const AUDIT_POLICY = {
  apiVersion: "audit.k8s.io/v1",
  kind: "Policy",
  omitStages: ["RequestReceived", "Panic"],
  rules: [
    { level: "None", userGroups: ["system:serviceaccounts:kube-system"] },
    { level: "Metadata", userGroups: ["system:serviceaccounts"] },
    { level: "None" },
  ],
};

/** A line of JSON for each request of a pod, audit.k8s.io/v1 Event. */
export function auditLogOf(folder: string): string {
  return join(folder, "log", "audit.jsonl");
}

export async function startControlPlane(folder: string, daemons: Daemon[]): Promise<ControlPlane> {
  const pki = join(folder, "pki");
  mkdirSync(pki, { recursive: true });
  const ca = await CertificateAuthority.open(pki, systemClock, systemRandom);
  const pair = async (name: string, subject: string, hosts?: readonly string[]): Promise<{ certificate: string; key: string }> => {
    await ca.ensure(name, { subject, ...(hosts === undefined ? {} : { hosts }) });
    return { certificate: join(pki, `${name}.crt`), key: join(pki, `${name}.key`) };
  };
  const kubeconfig = async (name: string, subject: string, hosts?: readonly string[]): Promise<string> => {
    const { certificate, key } = await pair(name, subject, hosts);
    const path = join(folder, `${name}.kubeconfig`);
    writeFileSync(path, kubeconfigText(join(pki, "ca.crt"), certificate, key), { mode: 0o600 });
    return path;
  };
  const server = await pair("apiserver", "CN=kube-apiserver", [ADDRESS, "127.0.0.1", "kubernetes.default.svc"]);
  const toKubelet = await pair("kubelet-client", "O=system:masters,CN=apiserver-kubelet-client");
  const tokens = serviceAccountKeys(pki);
  const admin = await kubeconfig("admin", "O=system:masters,CN=admin");
  const controllerManager = await kubeconfig("controller-manager", "CN=system:kube-controller-manager");
  const scheduler = await kubeconfig("scheduler", "CN=system:kube-scheduler");
  const kubelet = await kubeconfig("kubelet", `O=system:nodes,CN=system:node:${NODE}`, [NODE, ADDRESS, "127.0.0.1"]);

  if (!run("ip", "-o", "addr", "show", "dev", "lo").includes(`${ADDRESS}/`)) run("ip", "addr", "add", `${ADDRESS}/32`, "dev", "lo");
  const etcd = startPeerDaemon(folder, "etcd", [
    ...["--name", "e", "--data-dir", join(folder, "etcd"), "--unsafe-no-fsync", "--log-level", "warn"],
    ...["--listen-client-urls", ETCD_URL, "--advertise-client-urls", ETCD_URL, "--listen-peer-urls", ETCD_PEER_URL],
    ...["--initial-advertise-peer-urls", ETCD_PEER_URL, "--initial-cluster", `e=${ETCD_PEER_URL}`],
  ]);
  daemons.push(etcd);
  const auditPolicy = join(folder, "audit-policy.json");
  writeFileSync(auditPolicy, JSON.stringify(AUDIT_POLICY));
  const api = startPeerDaemon(folder, "kube-apiserver", [
    `--etcd-servers=${ETCD_URL}`,
    `--bind-address=${ADDRESS}`,
    "--secure-port=443",
    `--advertise-address=${ADDRESS}`,
    "--endpoint-reconciler-type=lease",
    // Webhooks are asked at the addresses of their pods, as where no proxy runs beside the API server: nothing forwards from the address of their Service here.
    "--enable-aggregator-routing=true",
    `--service-cluster-ip-range=${SERVICE_RANGE}`,
    "--allow-privileged=true",
    "--authorization-mode=Node,RBAC",
    "--enable-admission-plugins=NodeRestriction",
    `--client-ca-file=${join(pki, "ca.crt")}`,
    `--tls-cert-file=${server.certificate}`,
    `--tls-private-key-file=${server.key}`,
    `--kubelet-certificate-authority=${join(pki, "ca.crt")}`,
    `--kubelet-client-certificate=${toKubelet.certificate}`,
    `--kubelet-client-key=${toKubelet.key}`,
    "--kubelet-preferred-address-types=InternalIP",
    "--service-account-issuer=https://kubernetes.default.svc",
    `--service-account-key-file=${tokens.publicKey}`,
    `--service-account-signing-key-file=${tokens.privateKey}`,
    ...[`--audit-policy-file=${auditPolicy}`, `--audit-log-path=${auditLogOf(folder)}`],
  ]);
  daemons.push(api);
  await untilReady("kube-apiserver", isReady, api);
  daemons.push(
    startPeerDaemon(folder, "kube-controller-manager", [
      `--kubeconfig=${controllerManager}`,
      ...["--secure-port=0", "--leader-elect=false", "--use-service-account-credentials=true"],
      `--service-account-private-key-file=${tokens.privateKey}`,
      `--root-ca-file=${join(pki, "ca.crt")}`,
    ]),
    // A pod that is tried while its claim is being bound can miss that and would wait for the next round, by default five minutes.
    startPeerDaemon(folder, "kube-scheduler", [
      `--kubeconfig=${scheduler}`,
      ...["--secure-port=0", "--leader-elect=false", "--pod-max-in-unschedulable-pods-duration=5s"],
    ]),
  );
  return {
    folder,
    caPath: join(pki, "ca.crt"),
    kubeconfigPath: admin,
    kubeletKubeconfigPath: kubelet,
    kubeletCertificate: { certificate: join(pki, "kubelet.crt"), key: join(pki, "kubelet.key") },
    daemons,
  };
}

function serviceAccountKeys(pki: string): { readonly privateKey: string; readonly publicKey: string } {
  const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const paths = { privateKey: join(pki, "service-accounts.key"), publicKey: join(pki, "service-accounts.pub") };
  writeFileSync(paths.privateKey, privateKey.export({ type: "pkcs1", format: "pem" }), { mode: 0o600 });
  writeFileSync(paths.publicKey, publicKey.export({ type: "spki", format: "pem" }));
  return paths;
}

function kubeconfigText(ca: string, certificate: string, key: string): string {
  const name = "real";
  return JSON.stringify({
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name, cluster: { server: API_URL, "certificate-authority": ca } }],
    users: [{ name, user: { "client-certificate": certificate, "client-key": key } }],
    contexts: [{ name, context: { cluster: name, user: name } }],
    "current-context": name,
  });
}

/** Everybody may ask for this. */
function isReady(): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const call = request(`${API_URL}/readyz`, { rejectUnauthorized: false }, (answer) => {
      answer.resume();
      resolve(answer.statusCode === 200);
    });
    call.once("error", reject);
    call.end();
  });
}
