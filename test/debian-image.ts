import { GenericContainer } from 'testcontainers'

const IMAGE = 'relay-tracker-test-packages'

/**
 * The image of test/debian. It is built by the first test that needs it, and kept for the next run; where several need it at once,
 * BuildKit does the work once.
 */
export function debianImage(): Promise<GenericContainer> {
  return GenericContainer.fromDockerfile('test/debian').withBuildkit().build(IMAGE, { deleteOnExit: false })
}
