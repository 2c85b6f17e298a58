import { readFileSync } from 'node:fs'
import t from 'tap'
import { parseDocument } from 'yaml'
import { EDGE_FORMATS } from '../../src/identity/client-certificate.ts'

// Neither Traefik nor Envoy can run here: this checks what can be checked without them.

function read(file: string) {
  const document = parseDocument(readFileSync(`examples/${file}`, 'utf8'), { uniqueKeys: true })
  return { problems: [...document.errors, ...document.warnings], content: document.toJS() }
}

const others = (own: string) =>
  Object.values(EDGE_FORMATS)
    .map(({ header }) => header)
    .filter((header) => header !== own)

t.test('the Traefik example drops forged headers and asks for a certificate', async (t) => {
  const [statics, dynamics] = [read('traefik/traefik.yaml'), read('traefik/relay.yaml')]
  t.same([...statics.problems, ...dynamics.problems], [], 'is well-formed')
  t.equal(statics.content.entryPoints.relay.forwardedHeaders, undefined, 'trusts nobody before it')
  const { routers, middlewares } = dynamics.content.http
  t.equal(routers.relay.rule, 'PathPrefix(`/api/relay/`)')
  t.ok(
    routers.relay.middlewares.indexOf('claims') < routers.relay.middlewares.indexOf('certificate'),
    'drops before it sets'
  )
  const dropped = Object.keys(middlewares.claims.headers.customRequestHeaders).map((name) => name.toLowerCase())
  for (const header of others('')) t.ok(dropped.includes(header), header)
  t.same(middlewares.certificate.passTLSClientCert, { pem: true })
  t.same(dynamics.content.tls.options.default.clientAuth, { clientAuthType: 'RequestClientCert' })
})

t.test('the Envoy example drops forged headers and asks for a certificate', async (t) => {
  const { problems, content } = read('envoy/envoy.yaml')
  t.same(problems, [], 'is well-formed')
  const [{ transport_socket, filters }] = content.static_resources.listeners[0].filter_chains
  t.match(transport_socket.typed_config, {
    require_client_certificate: false,
    common_tls_context: { validation_context: { trust_chain_verification: 'ACCEPT_UNTRUSTED' } }
  })
  const manager = filters[0].typed_config
  t.equal(manager.forward_client_cert_details, 'SANITIZE_SET')
  t.same(manager.set_current_client_cert_details, { cert: true }, 'nothing that the caller chose')
  const dropped = manager.route_config.request_headers_to_remove
  for (const header of others(EDGE_FORMATS.xfcc.header)) t.ok(dropped.includes(header), header)
})
