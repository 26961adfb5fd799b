#!/usr/bin/node
// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// A Node.js process as a spare: loads modules, waits for the request that claims it, and
// becomes the instance. Node has threads, so it cannot fork; a spare is used once.
//
//     hearth_zygote.js --spare MODULE...    the socket to be claimed by is descriptor 3
//     hearth_zygote.js --run FILE|MODULE:FUNCTION [ARGUMENT...]    the same start, cold
//
// FILE runs as the main module, a function is called without arguments and may be async; a
// whole number that it returns is the exit status.
'use strict'
const fs = require('fs')
const path = require('path')
const { Module, createRequire } = require('module')
const { pathToFileURL } = require('url')

const SOCKET = 3
const EXIT_FAILED = 125

function fail (text, status) {
  fs.writeSync(2, `${text}\n`)
  process.exit(status)
}

const firstLine = error => String(error && error.message || error).split('\n')[0]

async function load (name, from = require) {
  try {
    return from(name)
  } catch (error) {
    if (error.code !== 'ERR_REQUIRE_ESM') throw error
    return import(pathToFileURL(from.resolve(name)))
  }
}

// What to call for an argv[0].
async function find (name) {
  const colon = name.lastIndexOf(':')
  if (colon > 0 && !name.includes('/')) {
    const here = createRequire(path.resolve('.') + path.sep)
    const module = name.slice(0, colon)
    const local = fs.existsSync(path.resolve(module)) || fs.existsSync(path.resolve(`${module}.js`))
    const found = (await load(local ? `./${module}` : module, here))[name.slice(colon + 1)]
    if (typeof found !== 'function') throw new Error(`no function '${name.slice(colon + 1)}' in ${module}`)
    return found
  }
  const file = path.resolve(name)
  fs.accessSync(file, fs.constants.R_OK)
  return () => Module.runMain(file)
}

async function run (argv, started) {
  let call
  process.argv = [process.execPath, argv[0].includes(':') ? argv[0] : path.resolve(argv[0]), ...argv.slice(1)]
  try {
    call = await find(argv[0])
  } catch (error) {
    started(`${argv[0]}: ${firstLine(error)}`)
    process.exit(EXIT_FAILED)
  }
  started('')
  const result = await call()
  if (Number.isInteger(result)) process.exitCode = result
}

// A collection now leaves less to page out, and none to do after the claim.
function collect () {
  require('v8').setFlagsFromString('--expose-gc')
  require('vm').runInNewContext('gc')()
}

async function spare (modules) {
  let addon
  try {
    addon = require('./hearth_zygote.node')
  } catch (error) {
    fail(`hearth_zygote: ${firstLine(error)}`, 1)
  }
  for (const name of modules) {
    try {
      await load(name)
    } catch (error) {
      fail(`hearth_zygote: ${name}: ${firstLine(error)}`, 1)
    }
  }
  collect()
  let argv
  try {
    argv = addon.wait(SOCKET)
  } catch (error) {
    fail(`hearth_zygote: ${firstLine(error)}`, EXIT_FAILED)
  }
  if (!argv) process.exit(0)
  process.chdir('.') // Node remembers where it was
  await run(argv, addon.started)
}

const [mode, ...words] = process.argv.slice(2)
if (mode === '--spare') spare(words)
else if (mode === '--run' && words.length) run(words, why => why && fs.writeSync(2, `${why}\n`))
else fail('usage: hearth_zygote.js --spare MODULE... | --run FILE|MODULE:FUNCTION [ARGUMENT...]', 2)
