/* SPDX-License-Identifier: Apache-2.0
 * Rebuilds en_100k.txt from the npm packages named in README.md:
 *   npm install --no-save zxcvbn@4.4.2 @zxcvbn-ts/language-common@4.1.3
 *   NODE_PATH=node_modules node make-list.js > en_100k.txt
 */
'use strict'

const fs = require('fs')
const path = require('path')

const SIZE = 100000
const zxcvbn = require('zxcvbn/lib/frequency_lists.js')
const common = path.join(path.dirname(require.resolve('@zxcvbn-ts/language-common/package.json')), 'src')
const read = (name) => JSON.parse(fs.readFileSync(path.join(common, name), 'utf8'))

const words = new Set()
const add = (word) => {
  const lower = word.toLowerCase()
  if (words.size < SIZE && /^[\x21-\x7e]{1,72}$/.test(lower)) words.add(lower)
}

/* Passwords first, by rank; then words and names, the lists taking turns so that rank still means frequency. */
for (const list of [read('passwords.json'), zxcvbn.passwords]) list.forEach(add)
const turns = [
  zxcvbn.english_wikipedia,
  zxcvbn.us_tv_and_film,
  zxcvbn.female_names,
  zxcvbn.male_names,
  zxcvbn.surnames,
  read('diceware.json')
]
for (let i = 0; turns.some((list) => i < list.length); i++) {
  for (const list of turns) if (i < list.length) add(list[i])
}
process.stdout.write([...words].join('\n') + '\n')
