import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import t, { type Test } from 'tap'
import { parseAllDocuments } from 'yaml'
import { createSelfSigned } from '../../peer/src/self-signed.ts'
import { loadConfig } from '../../src/runtime/config.ts'
import { schema } from '../../src/runtime/settings.ts'
import { VERSION } from '../../src/runtime/version.ts'
import { client, startApi } from '../support/api.ts'
import { skipWithoutContainers } from '../support/containers.ts'
import { createDatabase } from '../support/database.ts'
import { docker, succeeds } from '../support/docker.ts'
import { shellCommands } from '../support/docs.ts'
import { hostOfContainers } from '../support/edge.ts'
import { eventually } from '../support/eventually.ts'
import { send } from '../support/http-client.ts'
import { registerPeer } from '../support/peers.ts'
import { start } from '../support/process.ts'

const FOLDER = 'examples/kubernetes'

// biome-ignore lint/suspicious/noExplicitAny: what a manifest says
type Manifest = any

const files = readdirSync(FOLDER).filter((name) => name.endsWith('.yaml'))
const read = (file: string): Manifest[] =>
  parseAllDocuments(readFileSync(join(FOLDER, file), 'utf8'), { version: '1.1' }).map((document) => document.toJS())
const [kustomization] = read('kustomization.yaml')
const manifests = files.filter((file) => file !== 'kustomization.yaml').flatMap(read)
const ofKind = (...kinds: string[]) => manifests.filter(({ kind }) => kinds.includes(kind))

/** Whatever makes pods: its name, the pods' labels, and the pods. */
const workloads = ofKind('Deployment', 'Job', 'CronJob').map(({ metadata, spec }) => {
  const { template } = spec.jobTemplate?.spec ?? spec
  const containers = [...(template.spec.initContainers ?? []), ...template.spec.containers]
  return { name: metadata.name, labels: template.metadata.labels, pod: template.spec, containers }
})
const workload = (name: string) => workloads.find((one) => one.name === name) as (typeof workloads)[number]

/** The config maps made of `settings.env` and `edge.env`. */
const configMaps: Record<string, NodeJS.Dict<string>> = Object.fromEntries(
  kustomization.configMapGenerator.map(({ name, envs }: Manifest) => [
    name,
    parseEnv(envs.map((file: string) => readFileSync(join(FOLDER, file), 'utf8')).join('\n'))
  ])
)

/** A container's environment, as the kubelet makes it. */
function environmentOf({ env = [], envFrom = [] }: Manifest): Record<string, string> {
  const named: Record<string, string> = {}
  for (const { name, value, valueFrom } of env) {
    const { name: map, key } = valueFrom?.configMapKeyRef ?? {}
    const text = value ?? configMaps[map]?.[key]
    named[name] = text.replaceAll(/\$\((\w+)\)/g, (_: string, variable: string) => named[variable])
  }
  return Object.assign({}, ...envFrom.map(({ configMapRef }: Manifest) => configMaps[configMapRef.name]), named)
}

/** A proxy of an object, and the paths of the members that nobody has read through it. */
function watchReads(object: Manifest) {
  const unread = new Set<string>()
  const watch = (value: Manifest, path: string): Manifest => {
    if (typeof value !== 'object' || value === null) return value
    const members = Object.entries(value).map(([name, member]) => {
      unread.add(`${path}.${name}`)
      return [name, watch(member, `${path}.${name}`)]
    })
    return new Proxy(Array.isArray(value) ? members.map(([, member]) => member) : Object.fromEntries(members), {
      get(target, name) {
        unread.delete(`${path}.${String(name)}`)
        return target[name]
      }
    })
  }
  return { watched: watch(object, ''), unread }
}

t.test('every manifest is valid, and has no field that Kubernetes does not know', async (t) => {
  for (const manifest of manifests) {
    const { apiVersion, kind, metadata } = manifest
    const { [kind]: Model } = await import(`kubernetes-models/${apiVersion}`)
    const { watched, unread } = watchReads(manifest)
    t.doesNotThrow(() => Model.prototype.validate.call(watched), `${kind} ${metadata.name}`)
    // The schema allows unknown members, but the validator reads only those that it knows.
    t.same([...unread], [], `${kind} ${metadata.name}`)
  }
})

t.test("the kustomization has every file but the mailer's, which needs settings", async (t) => {
  const { resources, images } = kustomization
  t.same([...resources, 'mailer.yaml', 'kustomization.yaml'].sort(), files.sort())
  const used = workloads.flatMap(({ containers }) => containers.map(({ image }) => image))
  t.same([...new Set(used)].sort(), images.map(({ name }: Manifest) => name).sort())
  const { version } = JSON.parse(readFileSync('package.json', 'utf8'))
  for (const { name, newTag } of images) t.equal(newTag, version, name)
})

t.test('every reference in a manifest has its target', async (t) => {
  const secrets = shellCommands(join(FOLDER, 'README.md')).flatMap(
    (command) => command.match(/create secret \w+ (\S+)/)?.[1] ?? []
  )
  const used = workloads.flatMap(({ pod }) => pod.volumes.flatMap(({ secret }: Manifest) => secret?.secretName ?? []))
  t.same(used.sort(), secrets.sort(), 'the secrets that README.md makes')

  for (const { name, labels, pod, containers } of workloads) {
    const isServer = containers.some((one) => one.image === 'relay-tracker' && one.livenessProbe)
    t.equal(
      Boolean(pod.shareProcessNamespace),
      isServer,
      `${name}: what serves is not process 1, which cannot end itself`
    )
    const volumes = pod.volumes.map((volume: Manifest) => volume.name)
    t.same(
      new Set(containers.flatMap((one) => (one.volumeMounts ?? []).map((mount: Manifest) => mount.name))),
      new Set(volumes),
      name
    )
    for (const container of containers) {
      const ports = (container.ports ?? []).map((port: Manifest) => port.name)
      for (const probe of [container.readinessProbe, container.livenessProbe]) {
        const port = probe?.httpGet?.port ?? probe?.tcpSocket?.port
        if (port) t.ok(ports.includes(port), `${name}: ${port}`)
      }
      for (const { configMapRef } of container.envFrom ?? []) t.ok(configMaps[configMapRef.name], configMapRef.name)
    }
    const { spec } = ofKind('Deployment').find(({ metadata }) => metadata.name === name) ?? {}
    if (spec) t.same(spec.selector.matchLabels, labels)
  }

  const podsOf = (selector: Manifest) =>
    workloads.filter(({ labels }) => Object.entries(selector).every(([name, value]) => labels[name] === value))
  for (const { metadata, kind, spec } of ofKind('Service', 'PodDisruptionBudget')) {
    const [pods, ...others] = podsOf(spec.selector.matchLabels ?? spec.selector)
    t.equal(pods?.name, metadata.name, `${kind} ${metadata.name}`)
    t.same(others, [])
    for (const { targetPort } of spec.ports ?? []) {
      t.ok(pods?.containers.some(({ ports = [] }) => ports.some(({ name }: Manifest) => name === targetPort)))
    }
  }
  const [host, port] = environmentOf(workload('edge').containers[1]).API_UPSTREAM?.split(':') ?? []
  t.match(ofKind('Service').find(({ metadata }) => metadata.name === host)?.spec.ports, [{ port: Number(port) }])

  for (const { metadata, spec } of ofKind('NetworkPolicy')) {
    const selected = (selector: Manifest) =>
      (selector.matchExpressions?.[0].values ?? [selector.matchLabels?.['app.kubernetes.io/component']])
        .filter(Boolean)
        .map(workload)
    const sources = (spec.ingress ?? []).flatMap(({ from = [] }: Manifest) => from)
    const targets = (spec.egress ?? []).flatMap(({ to = [] }: Manifest) => to)
    const peers = [...sources, ...targets].flatMap(({ podSelector }) => (podSelector ? selected(podSelector) : []))
    const receivers = spec.ingress ? selected(spec.podSelector) : peers
    t.ok([...selected(spec.podSelector), ...peers].every(Boolean), metadata.name)
    const named = [...(spec.ingress ?? []), ...(spec.egress ?? [])]
      .flatMap(({ ports }: Manifest) => ports)
      .filter(({ port }) => typeof port === 'string')
    for (const { port } of named) {
      for (const { name, containers } of receivers) {
        const ports = containers.flatMap((container: Manifest) =>
          (container.ports ?? []).map((one: Manifest) => one.name)
        )
        t.ok(ports.includes(port), `${metadata.name}: ${name} has the port ${port}`)
      }
    }
  }
})

t.test('no pod can run as root, gain rights, write outside its volumes or use up a node', async (t) => {
  for (const { name, pod, containers } of workloads) {
    t.match(pod, { automountServiceAccountToken: false, enableServiceLinks: false }, name)
    t.match(pod.securityContext, { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } }, name)
    for (const container of containers) {
      t.match(container.resources, { limits: { memory: String }, requests: { cpu: String, memory: String } }, name)
      t.same(container.securityContext, {
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] }
      })
    }
  }
})

t.test('every process runs with the command and settings of its manifest', async (t) => {
  const { url } = await createDatabase(t, { empty: true })
  const PASSWORD_FILES = { DATABASE_PASSWORD_FILE: '', SMTP_PASSWORD_FILE: '' }
  const launch = (name: string, env: NodeJS.ProcessEnv = {}) => {
    const [container] = workload(name).containers
    const [, file = 'src/processes/api.ts', ...args] = container.command ?? []
    const environment = { ...environmentOf(container), ...PASSWORD_FILES, DATABASE_URL: url, ...env }
    return start(t, file, { args, env: environment })
  }
  for (const name of ['api', 'cleanup', 'mailer', 'migrate']) {
    const [container] = workload(name).containers
    const { DATABASE_SERVER, ...env } = environmentOf(container)
    t.same(
      Object.keys(env).filter((variable) => !(variable in schema.properties)),
      [],
      `${name} has no setting that is none`
    )
    const config = await loadConfig({ ...env, ...PASSWORD_FILES })
    t.equal(config.DATABASE_URL, `postgres://relay_${name === 'migrate' ? 'owner' : name}@${DATABASE_SERVER}/relay`)
    const expected: Record<string, number> = {
      http: config.PORT,
      internal: name === 'api' ? config.INTERNAL_PORT : config.MAILER_PORT
    }
    for (const port of container.ports ?? []) t.equal(port.containerPort, expected[port.name], `${name}: ${port.name}`)
  }

  t.match(await launch('migrate').ended, { code: 0, output: `relay-tracker ${VERSION}: applied ` })
  t.match(await launch('cleanup').ended, { code: 0 })
  for (const name of ['api', 'mailer']) {
    const [container] = workload(name).containers
    const process = launch(name, { PORT: '0', INTERNAL_PORT: '0', MAILER_PORT: '0' })
    await process.printed(name === 'api' ? 'Operators are served at' : 'Server listening at')
    const [, port] = process
      .output()
      .match(/(?:Operators are served|Server listening) at http:\/\/127.0.0.1:(\d+)/) as RegExpMatchArray
    for (const probe of [container.readinessProbe, container.livenessProbe]) {
      t.match(
        await send(`http://127.0.0.1:${port}${probe.httpGet.path}`),
        { status: 200 },
        `${name}: ${probe.httpGet.path}`
      )
    }
    process.child.kill('SIGTERM')
    t.match(await process.ended, { code: 0 })
  }
})

t.test('the edge runs with the few rights that its pod has', { skip: skipWithoutContainers }, async (t) => {
  const run = await buildEdge(t)
  const { host, name: hostName } = await hostOfContainers()
  const api = await startApi(t, { host })
  const { pod, containers } = workload('edge')
  const [wait, nginx] = containers
  const { certificate, privateKey } = await createSelfSigned({ commonName: 'relay.example.com' })
  const tls = t.testdir({ 'server.crt': certificate, 'server.key': privateKey })

  const address = hostName === host ? host : 'host-gateway'
  const [program, ...args] = wait.command
  await docker('run', '--rm', `--add-host=api:${address}`, `--entrypoint=${program}`, ...run(pod, wait, tls), ...args)

  const upstream = `--env=API_UPSTREAM=${hostName}:${api.port}`
  const id = await docker('run', '--detach', '--publish=127.0.0.1::443', upstream, ...run(pod, nginx, tls))
  t.teardown(() => docker('rm', '--force', id))
  await eventually(() => succeeds(docker('exec', id, ...nginx.readinessProbe.exec.command)), Boolean)
  const published = await docker('port', id, '443/tcp')
  const relay = client(`https://${published.split('\n')[0]}/api/relay`)
  const alice = await registerPeer(relay)
  t.match(await relay.ready(alice), { status: 200 })
  t.match(await relay.own(alice), { status: 200, body: { fingerprint: alice.fingerprint } })
  t.equal(await docker('exec', id, 'id', '--user'), String(pod.securityContext.runAsUser))
  await docker('stop', id)
  t.equal(await docker('inspect', '--format', '{{.State.ExitCode}}', id), '0')
})

/** Builds the edge's image: the arguments that run a container as its pod says. */
async function buildEdge(t: Test) {
  const image = 'relay-tracker-edge-test'
  await docker('build', '--tag', image, 'nginx')
  t.teardown(() => docker('rmi', image))
  return (pod: Manifest, container: Manifest, tls: string): string[] => {
    const { runAsUser, runAsGroup, sysctls } = pod.securityContext
    const volumes = (container.volumeMounts ?? []).map(({ name, mountPath }: Manifest) => {
      const { secret } = pod.volumes.find((volume: Manifest) => volume.name === name)
      return secret ? `--volume=${tls}:${mountPath}:ro` : `--tmpfs=${mountPath}:uid=${runAsUser},gid=${runAsGroup}`
    })
    const environment = Object.entries(environmentOf(container)).filter(([name]) => name !== 'API_UPSTREAM')
    return [
      `--user=${runAsUser}:${runAsGroup}`,
      '--read-only',
      '--security-opt=no-new-privileges',
      ...container.securityContext.capabilities.drop.map((name: string) => `--cap-drop=${name}`),
      ...sysctls.map(({ name, value }: Manifest) => `--sysctl=${name}=${value}`),
      ...volumes,
      ...environment.map(([name, value]) => `--env=${name}=${value}`),
      image
    ]
  }
}
