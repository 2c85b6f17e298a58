import tap from 'tap'

// tap removes a test's folder before its teardowns, under a process that still runs in it, unless a teardown was registered before the folder.
tap.beforeEach((t) => t.teardown(() => {}))
