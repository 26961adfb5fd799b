// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Four functions for @google-cloud/functions-framework; each runs in a process
// of its own, chosen by --target.
'use strict';

const crypto = require('crypto');
const functions = require('@google-cloud/functions-framework');

// Averages a synthetic picture down to a quarter, as an image resizer would.
functions.http('resize', (req, res) => {
	const side = 256;
	const shade = (req.body.text || '').length;
	let sum = 0;
	for (let y = 0; y < side; y += 4)
		for (let x = 0; x < side; x += 4)
			for (let i = 0; i < 16; i++)
				sum = (sum * 31 + ((x + (i & 3)) ^ (y + (i >> 2))) + shade) % 1000003;
	res.json({ width: side / 4, checksum: sum });
});

const escapes = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };

// Renders a page from a template.
functions.http('render', (req, res) => {
	const text = String(req.body.text).replace(/[&<>"]/g, (c) => escapes[c]);
	const rows = (req.body.items || []).map((n, i) => `<li class="row-${i % 2}">${n}</li>`);
	res.type('html').send(`<!doctype html><title>${text}</title><ul>${rows.join('')}</ul>`);
});

// Signs the request, as a webhook receiver or token issuer would.
functions.http('sign', (req, res) => {
	const key = crypto.pbkdf2Sync('a secret of the demo', String(req.body.user), 200, 32, 'sha256');
	res.json({ signature: crypto.createHmac('sha256', key).update(req.rawBody).digest('hex') });
});

// Validates and reshapes a JSON document.
functions.http('reshape', (req, res) => {
	const items = req.body.items;
	if (!Array.isArray(items)) {
		res.status(400).json({ error: 'items: expected a list' });
		return;
	}
	const total = items.reduce((a, b) => a + b, 0);
	res.json({ user: req.body.user, total, mean: total / items.length, sorted: [...items].sort() });
});
