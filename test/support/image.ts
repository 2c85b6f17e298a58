import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { GenericContainer } from 'testcontainers'

/**
 * Builds an image, and keeps it, so that the next time only what has changed is built. Where several tests need it at once, BuildKit does the
 * work once. Not with testcontainers, which takes the last image that was built when this one cannot be.
 *
 * @param context the folder that the build may read
 * @param variables of the Dockerfile, its ARGs
 */
export async function buildImage(
  name: string,
  context: string,
  dockerfile = `${context}/Dockerfile`,
  variables: Record<string, string> = {}
): Promise<GenericContainer> {
  const options = Object.entries(variables).flatMap(([name, value]) => ['--build-arg', `${name}=${value}`])
  const args = ['build', '--progress=plain', '--tag', name, '--file', dockerfile, ...options, context]
  await promisify(execFile)('docker', args, { maxBuffer: Number.POSITIVE_INFINITY })
  return new GenericContainer(name)
}
