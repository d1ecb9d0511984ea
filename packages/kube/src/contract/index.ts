export * from "./kube-client-contract.ts";
