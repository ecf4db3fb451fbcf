//! What only a second kernel can show. Each test boots a machine.

mod lab;
