/** What people do with kubectl to plain objects, as one script: every request it makes is one that an API server must answer. */

export interface KubectlStep {
  readonly args: readonly string[];
  readonly input?: string;
  readonly environment?: Readonly<Record<string, string>>;
  /** The exit code; 0 when nothing is said. */
  readonly code?: number;
}

const run = (line: string, more: Omit<KubectlStep, "args"> = {}): KubectlStep => ({ args: line.split(" "), ...more });

const settings = `
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: shop, labels: {app: shop, made: here}}
data: {color: red, size: "3"}
---
apiVersion: v1
kind: Secret
metadata: {name: login, namespace: shop}
stringData: {user: me}
`;

const web = (replicas: number): string => `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, labels: {app: web}}
spec:
  replicas: ${replicas}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: nginx
        ports: [{containerPort: 80}]
`;

const pod = `
apiVersion: v1
kind: Pod
metadata: {name: alone, namespace: shop, labels: {app: alone}}
spec:
  serviceAccountName: runner
  containers: [{name: main, image: busybox, command: [sleep, "1000"]}]
`;

const claim = `
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data, namespace: shop}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
`;

const definition = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: ships.harbour.example.com}
spec:
  group: harbour.example.com
  scope: Namespaced
  names: {plural: ships, singular: ship, kind: Ship, listKind: ShipList, shortNames: [sh]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    additionalPrinterColumns: [{name: Flag, type: string, jsonPath: .spec.flag}]
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, required: [flag], properties: {flag: {type: string}, crew: {type: integer, minimum: 1}}}
          status: {type: object, properties: {phase: {type: string}}}
`;

const ship = (flag: string): string => `
apiVersion: harbour.example.com/v1
kind: Ship
metadata: {name: anna, namespace: shop}
spec: {flag: ${flag}, crew: 4}
`;

export const kubectlScript: readonly KubectlStep[] = [
  run("version"),
  run("cluster-info"),
  run("api-resources -o wide"),
  run("api-versions"),
  run("create namespace shop"),
  run("get namespace shop -o yaml"),
  run("create serviceaccount runner -n shop"),
  run("create configmap one --from-literal=a=b -n shop"),
  run("label configmap one -n shop made=here"),
  run("create secret generic token --from-literal=user=me -n shop"),
  run("create role reader --verb=get,list --resource=pods,configmaps -n shop"),
  run("create rolebinding readers --role=reader --serviceaccount=shop:runner -n shop"),
  run("create clusterrole paths --verb=get --non-resource-url=/healthz"),
  run("create clusterrolebinding paths --clusterrole=paths --serviceaccount=shop:runner"),
  run("create job once --image=busybox -n shop -- true"),
  { args: ["create", "cronjob", "often", "--image=busybox", "--schedule=*/5 * * * *", "-n", "shop"] },
  { args: ["create", "cronjob", "never", "--image=busybox", "--schedule=whenever", "-n", "shop"], code: 1 },
  run("create quota limits --hard=cpu=1500m,pods=10 -n elsewhere", { code: 1 }),
  run("create ingress front --class=nginx --rule=example.com/path*=web:80 -n shop"),
  run("create poddisruptionbudget budget --selector=app=web --min-available=50% -n shop"),
  run("create priorityclass low --value=7"),
  run("create token runner -n shop"),
  run("create configmap one --from-literal=a=b -n shop", { code: 1 }),
  run("create deployment idle --image=nginx --replicas=0 --dry-run=server -o yaml -n shop"),
  run("apply -f -", { input: settings }),
  run("apply -f -", { input: settings.replace("red", "green") }),
  run("apply -f -", { input: settings.replace("green", "red") }),
  run("diff -f -", { input: settings.replace("red", "blue"), code: 1 }),
  run("apply -f -", { input: web(0) }),
  run("apply -f - --server-side --field-manager=other", { input: web(2), code: 1 }),
  run("apply -f - --server-side --field-manager=other --force-conflicts", { input: web(2) }),
  run("apply -f -", { input: web(1) }),
  run("apply -f -", { input: pod }),
  run("apply -f -", { input: claim }),
  run("apply -f -", { input: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: BAD_, namespace: shop}\n", code: 1 }),
  run("apply -f -", { input: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: odd, namespace: shop}\ndatas: {a: b}\n", code: 1 }),
  run("apply -f -", { input: "apiVersion: nowhere/v1\nkind: Thing\nmetadata: {name: odd, namespace: shop}\n", code: 1 }),
  run("get all -n shop"),
  run("get all -n shop -o wide"),
  run("get secrets,pvc,jobs,ingress,pdb,roles,rolebindings -n shop -o wide"),
  run("get deployment web -n shop -o yaml"),
  run("get deployment web -n shop -o json --show-managed-fields"),
  run("get configmaps -n shop -l app=shop"),
  run("get configmaps -n shop -l app!=shop,app --field-selector metadata.name=settings"),
  run("get configmaps -n shop --field-selector spec.none=x", { code: 1 }),
  run("get configmaps -n shop -l a=b=c", { code: 1 }),
  run("get configmaps,pods -n shop --field-selector metadata.name=alone"),
  run("get pods -A --field-selector status.phase=Pending,spec.nodeName="),
  run("get clusterroles --chunk-size=2 -l !kubernetes.io/bootstrapping"),
  run("get configmaps -n shop -l made=here --chunk-size=1"),
  run("get configmaps -n shop -l made=here --sort-by=.metadata.name -o name"),
  run("get pods -n shop -o custom-columns=NAME:.metadata.name,PHASE:.status.phase"),
  run("get --raw /version"),
  run("get --raw /healthz"),
  run("get --raw /api/v1/namespaces/shop/configmaps/settings"),
  run("get configmap missing -n shop", { code: 1 }),
  run("get missing -n shop", { code: 1 }),
  run("get pods -n nowhere"),
  run("describe deployment web -n shop"),
  run("describe configmap settings -n shop"),
  run("describe pod alone -n shop"),
  run("describe pvc data -n shop"),
  run("describe namespace shop"),
  run("label configmap settings -n shop tier=front"),
  run("label configmap settings -n shop tier=back", { code: 1 }),
  run("label configmap settings -n shop tier=back --overwrite"),
  run("label configmap settings -n shop tier-"),
  run("label configmaps -l made=here -n shop all=yes"),
  run("label secrets --all -n shop all=yes"),
  run("annotate configmap settings -n shop note=first"),
  run("annotate deployment web -n shop kubernetes.io/change-cause=first"),
  { args: ["patch", "configmap", "settings", "-n", "shop", "--type=merge", "-p", '{"data":{"size":null,"more":"1"}}'] },
  { args: ["patch", "configmap", "settings", "-n", "shop", "--type=json", "-p", '[{"op":"replace","path":"/data/more","value":"2"}]'] },
  { args: ["patch", "configmap", "settings", "-n", "shop", "--type=json", "-p", '[{"op":"test","path":"/data/more","value":"9"}]'], code: 1 },
  { args: ["patch", "configmap", "settings", "-n", "shop", "--type=json", "-p", '[{"op":"remove","path":"/data/none"}]'], code: 1 },
  {
    args: [
      ...["patch", "deployment", "web", "-n", "shop"],
      ...["-p", '{"spec":{"template":{"spec":{"containers":[{"name":"web","env":[{"name":"A","value":"b"}]},{"name":"side","image":"busybox"}]}}}}'],
    ],
  },
  {
    args: ["patch", "deployment", "web", "-n", "shop", "-p", '{"spec":{"template":{"spec":{"containers":[{"name":"side","$patch":"delete"}]}}}}'],
  },
  { args: ["patch", "deployment", "web", "-n", "shop", "-p", '{"spec":{"replicas":-1}}'], code: 1 },
  { args: ["patch", "deployment", "web", "-n", "shop", "--subresource=status", "--type=merge", "-p", '{"status":{"replicas":1}}'] },
  { args: ["patch", "deployment", "web", "-n", "shop", "--subresource=scale", "--type=merge", "-p", '{"spec":{"replicas":4}}'] },
  run("scale deployment web -n shop --replicas=2"),
  run("scale deployment web -n shop --current-replicas=7 --replicas=3", { code: 1 }),
  run("autoscale deployment web -n shop --min=1 --max=3"),
  run("set image deployment/web web=nginx:2 -n shop"),
  run("set env deployment/web B=c -n shop"),
  run("set resources deployment/web --limits=cpu=200m,memory=64Mi -n shop"),
  run("set selector service/web a=b -n shop", { code: 1 }),
  run("expose deployment web -n shop --port=80"),
  run("expose deployment web -n shop --port=80 --type=NodePort --name=outside"),
  run("get services -n shop -o wide"),
  run("get endpoints -n shop"),
  run("rollout restart deployment/web -n shop"),
  run("rollout pause deployment/web -n shop"),
  run("rollout resume deployment/web -n shop"),
  run("rollout history deployment/web -n shop"),
  run("rollout undo deployment/web -n shop", { code: 1 }),
  run("rollout status deployment/web -n shop --timeout=1s", { code: 1 }),
  run("edit configmap settings -n shop", { environment: { KUBE_EDITOR: "sed -i s/red/blue/" } }),
  run("edit deployment web -n shop", { environment: { KUBE_EDITOR: "sed -i 's/replicas: 2/replicas: 1/'" } }),
  run("replace -f -", { input: settings.replace("red", "white") }),
  run("replace --force -f -", { input: settings.replace("red", "black") }),
  run("replace -f -", { input: settings.replaceAll("settings", "nothing"), code: 1 }),
  run("wait --for=jsonpath={.data.color}=black configmap/settings -n shop --timeout=20s"),
  run("wait --for=condition=Available deployment/web -n shop --timeout=1s", { code: 1 }),
  run("taint nodes none a=b:NoSchedule", { code: 1 }),
  run("cordon none", { code: 1 }),
  run("top nodes", { code: 1 }),
  run("logs alone -n shop"),
  run("auth can-i get pods -n shop"),
  run("auth can-i get pods -n shop --as=system:serviceaccount:shop:runner"),
  run("auth can-i delete pods -n shop --as=system:serviceaccount:shop:runner", { code: 1 }),
  run("auth can-i --list -n shop --as=system:serviceaccount:shop:runner"),
  run("auth whoami"),
  run("get pods -n shop --as=system:serviceaccount:shop:runner"),
  run("get secrets -n shop --as=system:serviceaccount:shop:runner", { code: 1 }),
  run("explain configmap.data"),
  run("explain deployment.spec.template.spec.containers --api-version=apps/v1"),
  run("apply -f -", { input: definition }),
  run("wait --for=condition=Established crd/ships.harbour.example.com --timeout=30s"),
  run("apply -f -", { input: ship("nl") }),
  run("apply -f -", { input: ship("de") }),
  run("apply -f -", { input: ship("7"), code: 1 }),
  run("apply -f - --server-side --force-conflicts", { input: ship("pl") }),
  run("get ships -n shop"),
  run("get sh anna -n shop -o yaml"),
  run("describe ship anna -n shop"),
  run("explain ship.spec"),
  { args: ["patch", "ship", "anna", "-n", "shop", "--type=merge", "-p", '{"spec":{"crew":0}}'], code: 1 },
  { args: ["patch", "ship", "anna", "-n", "shop", "--subresource=status", "--type=merge", "-p", '{"status":{"phase":"Sunk"}}'] },
  { args: ["patch", "ship", "anna", "-n", "shop", "-p", '{"spec":{"crew":1}}'], code: 1 },
  run("delete ship anna -n shop"),
  run("delete configmap settings -n shop"),
  run("delete configmap settings -n shop", { code: 1 }),
  run("delete configmap settings -n shop --ignore-not-found"),
  run("delete pod alone -n shop --grace-period=0 --force"),
  run("delete configmaps -l all=yes -n shop"),
  run("delete job once -n shop --cascade=background"),
  run("create configmap leaving --from-literal=a=b -n shop"),
  run("delete configmap leaving -n shop --cascade=foreground --wait=false"),
  run("create configmap alone --from-literal=a=b -n shop"),
  run("delete configmap alone -n shop --cascade=orphan --wait=false"),
  run("wait --for=delete configmap/none -n shop --timeout=5s"),
  run("api-resources --namespaced=false"),
  run("explain pod.spec --recursive"),
  run("delete service web -n shop"),
  run("delete deployment web -n shop --cascade=background"),
  run("delete crd ships.harbour.example.com"),
  run("delete priorityclass low"),
  run("delete clusterrolebinding paths"),
];
