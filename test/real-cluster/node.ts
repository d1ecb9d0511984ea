/** The one node: containerd with runc, and a kubelet. Images are there before the first pod. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { qualified } from "../../tools/image/oci-layout.ts";
import type { ControlPlane } from "./control-plane.ts";
import { imageArchives, TOOLS_IMAGE } from "./images.ts";
import { makeCgroups } from "./leftovers.ts";
import { ADDRESS, type Daemon, NODE, POD_RANGE, run, runFolder, startDaemon, startPeerDaemon, untilReady } from "./machine.ts";

export interface Node {
  /** The kubelet's folder. */
  readonly kubeletRoot: string;
  readonly containerdSocket: string;
}

const NETWORK_PLUGINS = "/usr/lib/cni";
const BRIDGE = "dray0";

export async function startContainerd(folder: string, daemons: Daemon[]): Promise<string> {
  const home = join(folder, "containerd");
  const networks = join(folder, "cni");
  mkdirSync(home, { recursive: true });
  mkdirSync(networks, { recursive: true });
  const socket = join(home, "containerd.sock");
  writeFileSync(join(networks, "10-bridge.conflist"), JSON.stringify(network(folder)));
  writeFileSync(join(home, "config.toml"), configuration({ home, networks, socket }));
  const containerd = startDaemon(folder, "containerd", ["containerd", "--config", join(home, "config.toml")]);
  daemons.push(containerd);
  const archives = await imageArchives(runFolder());
  await untilReady("containerd", () => run("ctr", "--address", socket, "version") !== "", containerd);
  for (const archive of archives) run("ctr", "--address", socket, "--namespace", "k8s.io", "images", "import", archive);
  return socket;
}

export function startKubelet(
  folder: string,
  controlPlane: ControlPlane,
  containerdSocket: string,
  daemons: Daemon[],
): { readonly root: string; readonly daemon: Daemon } {
  const root = join(folder, "kubelet");
  mkdirSync(join(root, "plugins_registry"), { recursive: true });
  // What the kubelet mounts is to be seen in containers, and what a driver mounts by the kubelet.
  run("mount", "--bind", root, root);
  run("mount", "--make-rshared", root);
  writeFileSync(join(folder, "resolv.conf"), "");
  const config = {
    apiVersion: "kubelet.config.k8s.io/v1beta1",
    kind: "KubeletConfiguration",
    containerRuntimeEndpoint: `unix://${containerdSocket}`,
    cgroupDriver: "cgroupfs",
    cgroupRoot: makeCgroups(),
    failSwapOn: false,
    address: ADDRESS,
    authentication: { anonymous: { enabled: false }, webhook: { enabled: true }, x509: { clientCAFile: controlPlane.caPath } },
    authorization: { mode: "Webhook" },
    tlsCertFile: controlPlane.kubeletCertificate.certificate,
    tlsPrivateKeyFile: controlPlane.kubeletCertificate.key,
    resolvConf: join(folder, "resolv.conf"),
    makeIPTablesUtilChains: false,
    healthzPort: 0,
    imageGCHighThresholdPercent: 100,
    evictionHard: { "memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%" },
    syncFrequency: "10s",
    podLogsDir: join(folder, "pod-logs"),
    volumePluginDir: join(folder, "volume-plugins"),
  };
  writeFileSync(join(folder, "kubelet.json"), JSON.stringify(config));
  const daemon = startPeerDaemon(folder, "kubelet", [
    `--config=${join(folder, "kubelet.json")}`,
    `--kubeconfig=${controlPlane.kubeletKubeconfigPath}`,
    `--root-dir=${root}`,
    `--hostname-override=${NODE}`,
    `--node-ip=${ADDRESS}`,
    "--v=2",
  ]);
  daemons.push(daemon);
  return { root, daemon };
}

function network(folder: string): object {
  const ranges = [[{ subnet: POD_RANGE }]];
  const ipam = { type: "host-local", dataDir: join(folder, "cni-addresses"), ranges, routes: [{ dst: "0.0.0.0/0" }] };
  return {
    cniVersion: "1.0.0",
    name: "dray",
    plugins: [{ type: "bridge", bridge: BRIDGE, isGateway: true, ipMasq: false, hairpinMode: true, ipam }, { type: "loopback" }],
  };
}

/**
 * A sandbox is a tool that sleeps. `restrict_oom_score_adj`: where root lacks CAP_SYS_RESOURCE the score of a sandbox cannot be set, and runc fails with
 * "can't get final child's PID from pipe".
 */
function configuration({ home, networks, socket }: { readonly home: string; readonly networks: string; readonly socket: string }): string {
  return `version = 2
root = "${home}/root"
state = "${home}/state"
[grpc]
  address = "${socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${qualified(TOOLS_IMAGE)}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "${NETWORK_PLUGINS}"
    conf_dir = "${networks}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
`;
}
