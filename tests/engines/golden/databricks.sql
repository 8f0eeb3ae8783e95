SELECT unix_date(CAST(from_utc_timestamp(orders.ordered_at, :`local_day_1`) AS DATE)) AS day, unix_date(CAST(orders.ordered_at AS DATE)) AS utc_day, unix_seconds(CAST(orders.ordered_at AS TIMESTAMP)) AS second, unix_micros(CAST(orders.ordered_at AS TIMESTAMP)) AS microsecond, (orders.amount_cents div NULLIF(100, 0)) AS whole, CAST(SUM(orders.amount_cents) AS BIGINT) AS cents, SUM(CAST(orders.amount_cents AS DOUBLE)) AS sum, CAST(orders.amount_cents AS DOUBLE) AS double, COUNT(*) AS n, try_element_at(from_json(events.properties, 'MAP<STRING,STRING>'), :`json_text_1`) AS plan, mod(CAST(conv(substr(md5(orders.order_id), 1, 8), 16, 10) AS BIGINT), 100) AS bucket, SUM(CAST(orders.amount_cents AS DOUBLE) * CAST(orders.amount_cents AS DOUBLE)) AS squares, ln(1.0D + CAST(orders.amount_cents AS DOUBLE)) AS log 
FROM orders JOIN events ON events.order_id = orders.order_id 
WHERE orders.country IN (:`country_1_1`, :`country_1_2`) AND orders.kind = :`kind_1` GROUP BY unix_date(CAST(from_utc_timestamp(orders.ordered_at, :`local_day_1`) AS DATE)) ORDER BY day
 LIMIT :`param_1`

SELECT o.country, COUNT(*) AS n, percentile(CAST(o.amount_cents AS DOUBLE), 0.5) AS half 
FROM (SELECT orders.order_id AS order_id, orders.person_id AS person_id, orders.ordered_at AS ordered_at, orders.kind AS kind, orders.amount_cents AS amount_cents, orders.country AS country, orders.channel AS channel, orders.device AS device, orders.source AS source 
FROM orders) AS o 
WHERE o.amount_cents IS NOT NULL GROUP BY o.country ORDER BY o.country
