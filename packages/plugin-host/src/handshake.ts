/**
 * The one line by which a plug-in tells where it listens, on its standard output:
 *
 *   core version | protocol version | network | address | transport | certificate [ | multiplexing ]
 *   1|2|unix|/tmp/plugin-dir/plugin123|grpc|
 *
 * Source: go-plugin, server.go and client.go (v1.7.0).
 */
import { DrayError } from "@drayage/base";
import { HANDSHAKE } from "@drayage/protocols/go-plugin";

export interface PluginAddress {
  /** As gRPC takes it: `unix://…`, or `127.0.0.1:port`. */
  readonly target: string;
}

/** Longer than any address can be. */
export const HANDSHAKE_BYTES_MAX = 4096;

/** Reads the line. Throws PLUGIN_BROKEN naming the plug-in and what is wrong with its line. */
export function parseHandshake(line: string, plugin: string): PluginAddress {
  const fail = (what: string, hint?: string): never => {
    throw new DrayError("PLUGIN_BROKEN", `Cannot use plug-in "${plugin}": ${what}`, hint === undefined ? {} : { hint });
  };
  const [core = "", version = "", network = "", address = "", transport = "", certificate = ""] = line.trim().split("|");
  if (!/^\d+$/.test(core) || !/^\d+$/.test(version))
    return fail(`its first line is ${JSON.stringify(line.slice(0, 200))}, which is not that of a plug-in`, "Is it a program that is no plug-in of Velero's?");
  if (Number(core) !== HANDSHAKE.coreVersion) return fail(`it speaks version ${core} of go-plugin, ${HANDSHAKE.coreVersion} is wanted`);
  if (Number(version) !== HANDSHAKE.protocolVersion) {
    return fail(
      `it speaks version ${version} of Velero's plug-in protocol, ${HANDSHAKE.protocolVersion} is wanted`,
      "Take a release of the plug-in that is made for Velero 1.14 to 1.18.",
    );
  }
  if (transport !== HANDSHAKE.transport) return fail(`it is reached by ${transport === "" ? "net/rpc" : JSON.stringify(transport)}, grpc is wanted`);
  if (certificate !== "") return fail("it demands a certificate, which nobody asked it for");
  if (network === "unix" && address.startsWith("/")) return { target: `unix://${address}` };
  if (network === "tcp" && /^(127\.0\.0\.1|\[::1\]):\d+$/.test(address)) return { target: address };
  return fail(`it listens on ${JSON.stringify(`${network} ${address}`)}, a socket or an address of this machine is wanted`);
}
