/** Why tests that need containers are skipped, as `npm test` found out. CI fails without a container engine. */
export const skipWithoutContainers = process.env.TEST_CONTAINERS ? false : 'there is no container engine'
