import { dirname, join } from 'node:path'
import {
  type ClassDeclaration,
  isClassDeclaration,
  isFunctionDeclaration,
  isInterfaceDeclaration,
  isMethodSignatureDeclaration,
  isTypeAliasDeclaration,
  isUnionTypeNode,
  type Node,
  SyntaxKind,
  type TypeNode,
  type UnionTypeNode
} from 'typescript/unstable/ast'
import { API, type Checker, type Project, type Type } from 'typescript/unstable/sync'
import { codeBlock, codeCell, documentation, meaning } from './doc-comments.ts'
import { markdownTable } from './markdown-table.ts'

/** A declaration, or a member of one, as far as the page shows it. */
type Declared = Node & { name: Node; type?: TypeNode; body?: Node; postfixToken?: Node; modifiers?: readonly Node[] }

interface Exported {
  name: string
  node: Node
}

const HIDDEN = [SyntaxKind.PrivateKeyword, SyntaxKind.ProtectedKeyword, SyntaxKind.OverrideKeyword]

/**
 * The page `peer/REFERENCE.md`: what a library exports, as its source declares and documents it.
 *
 * @param config the library's tsconfig.json, with `src/index.ts` beside it
 * @throws Error if something is exported that is neither a class nor a function nor a type
 */
export function peerReference(config: string): string {
  const api = new API()
  try {
    const [project] = api.updateSnapshot({ openProjects: [config] }).getProjects() as [Project]
    return `# Reference

<!-- Made by \`npm run generate\` from the types in peer/src, with scripts/peer-reference.ts. -->

What \`relay-tracker/peer\` exports. [README.md](README.md) shows how to use it.

${describeAll(exportsOf(project, join(dirname(config), 'src/index.ts')), project.checker).join('\n\n')}
`
  } finally {
    api.close()
  }
}

function exportsOf({ program, checker }: Project, index: string): Exported[] {
  const symbol = checker.getSymbolAtLocation(program.getSourceFile(index) as Node)
  return checker.getExportsOfModule(symbol as NonNullable<typeof symbol>).map((one) => {
    const [declaration] = checker.getAliasedSymbol(one).declarations
    return { name: one.name, node: declaration?.resolve() as Node }
  })
}

/** Classes, functions, errors, and then types, each in the order in which they are exported. */
function describeAll(exported: Exported[], checker: Checker): string[] {
  const classes = exported.filter(({ node }) => isClassDeclaration(node))
  const errors = classes.filter(({ name }) => name.endsWith('Error'))
  const functions = exported.filter(({ node }) => isFunctionDeclaration(node))
  const types = exported.filter(({ node }) => isInterfaceDeclaration(node) || isTypeAliasDeclaration(node))
  const other = exported.find((one) => ![classes, functions, types].some((group) => group.includes(one)))
  if (other) throw new Error(`${other.name} is neither a class nor a function nor a type`)
  // Shown with the class that emits them.
  const events = classes.map(({ node }) => eventsOf(node as ClassDeclaration, checker)?.getSymbol()?.name)
  const inOrder = [
    ...classes.filter((one) => !errors.includes(one)),
    ...functions,
    ...errors,
    ...types.filter(({ name }) => !events.includes(name))
  ]
  return inOrder.flatMap(({ name, node }) => [`## ${name}`, ...describe(node as Declared, checker)])
}

function describe(node: Declared, checker: Checker): string[] {
  if (isClassDeclaration(node)) return describeClass(node, checker)
  if (isFunctionDeclaration(node)) return describeCall(node as Declared)
  if (isInterfaceDeclaration(node)) {
    return [...documentation(node), membersTable(node.members as unknown as Declared[], checker)]
  }
  const rows = isUnionTypeNode(node.type as TypeNode) ? unionRows(node.type as UnionTypeNode) : []
  const isDocumented = rows.some(([, words]) => words !== '')
  return [...documentation(node), isDocumented ? markdownTable(['value', ''], rows) : codeBlock(node)]
}

function describeClass(node: ClassDeclaration, checker: Checker): string[] {
  const members = (node.members as unknown as Declared[]).filter(
    ({ name, modifiers = [] }) =>
      name && name.kind !== SyntaxKind.PrivateIdentifier && !modifiers.some(({ kind }) => HIDDEN.includes(kind))
  )
  const methods = members.filter(({ kind }) => kind === SyntaxKind.MethodDeclaration)
  const properties = members.filter(({ kind }) => kind !== SyntaxKind.MethodDeclaration)
  const events = eventsOf(node, checker)
  return [
    ...documentation(node),
    ...(properties.length > 0 ? [membersTable(properties, checker)] : []),
    ...methods.flatMap((method) => [`### \`${method.name.getText()}\``, ...describeCall(method)]),
    ...(events ? ['### Events', eventsTable(events, checker)] : [])
  ]
}

/** What a class emits: `Events` in `extends EventEmitter<Events>`. */
function eventsOf({ heritageClauses }: ClassDeclaration, checker: Checker): Type | undefined {
  const base = heritageClauses?.[0]?.types[0]
  const [events] = base?.expression.getText() === 'EventEmitter' ? (base.typeArguments ?? []) : []
  return events && checker.getTypeAtLocation(events)
}

function eventsTable(events: Type, checker: Checker) {
  const rows = checker.getPropertiesOfType(events).map(({ valueDeclaration }) => {
    const event = valueDeclaration?.resolve() as Declared
    const values = typeOf(event, checker).replace(/^\[(.*)\]$/s, '($1)')
    return [codeCell(event.name.getText()), codeCell(values), meaning(event)]
  })
  return markdownTable(['event', 'arguments', ''], rows)
}

function membersTable(members: Declared[], checker: Checker) {
  const rows = members.map((member) => {
    const name = `${member.name.getText()}${member.postfixToken?.kind === SyntaxKind.QuestionToken ? '?' : ''}`
    return [codeCell(name), codeCell(typeOf(member, checker)), meaning(member)]
  })
  return markdownTable(['member', 'type', ''], rows)
}

/** As it is written; what is not, as TypeScript infers it. */
function typeOf(member: Declared, checker: Checker) {
  if (member.type && !isMethodSignatureDeclaration(member)) return member.type.getText()
  return checker.typeToString(checker.getTypeAtLocation(member) as Type)
}

/** The members of a union type, with their comments, which stand before the `|`. */
function unionRows({ types, pos }: UnionTypeNode) {
  return types.map((type, n) => [codeCell(type.getText()), meaning(type, types[n - 1]?.end ?? pos)])
}

/** What calls a function or a method, and its documentation. */
function describeCall(node: Declared): string[] {
  return [codeBlock(node, node.body?.getStart()), ...documentation(node)]
}
