/*
 * Tokens and keys made by another implementation (pyca/cryptography), of fixed bytes. The Ed25519
 * key is that of RFC 8037, A.1. The claims of all tokens: issuer "https://issuer.example",
 * audiences "other" and "gateway", from 1700000000 to 1700000300.
 */
#ifndef SLIPWAY_TESTS_UNIT_GATEWAY_ACCESS_JWT_VECTORS_H
#define SLIPWAY_TESTS_UNIT_GATEWAY_ACCESS_JWT_VECTORS_H

#define VECTOR_KEYS                                                                                \
    "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"ed\",\"alg\":\"EdDSA\",\"x"         \
    "\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"},{\"kty\":\"RSA\",\"kid\":\"rsa\""         \
    ",\"use\":\"sig\",\"n\":\"wFDDByWnc9MTVsFeS1KmszumpjFoLKrVAAX4c0ySBzWcnda-abaPTuNwpjA"         \
    "OrSWg1tv4jDk_098ojRul-fQisO1NDrXe_bC5nalpaibIBwxguGELBS9W9Azcc6T7tApH0WjoeZ3ZdLpdoUe"         \
    "ldz4igeuW0_jmG3Ggeouai0kqesnqgECv1ErTnh_7t81u_naLBUan7tZWsW2IBk3R6Yik6w2X3mcqc3_ktLc"         \
    "T4ztr2ukrFdB1j-j85NxxrORKwx207fdOKMk8oRN5tpovnqT-IEC7xsSQNmvzpPhCy0ehbmwjXI98UtupjhB"         \
    "KfvLm1Cn-n6hUe1glHJlxje9hfuUzMw\",\"e\":\"AQAB\"},{\"kty\":\"EC\",\"crv\":\"P-256\","         \
    "\"kid\":\"p256\",\"key_ops\":[\"verify\"],\"x\":\"NTx8RtqecoDxXFQ-6p_mpSrQRVpUHWvQRS"         \
    "xJCaMd_ZI\",\"y\":\"vHtds-EqU_d5PpZB5bTL0adjFkDAM0HIDoxEXln3NqM\"},{\"kty\":\"EC\","          \
    "\"crv\":\"P-384\",\"kid\":\"p384\",\"key_ops\":[\"verify\"],\"x\":\"7g17peGDgrqPeuW8"         \
    "-VwgXVhXR_VbZouSSRMVs6BDyqU7bwN9Q3tG2fFIe90Y_yxh\",\"y\":\"gPSqFwtAlSTWnITSe3gXEtYUD"         \
    "lkDGcAoMJagZJsNmpNC7Q4QYf-VxnNwAZsVvQ9a\"}]}"

#define VECTOR_WEAK_RSA                                                                            \
    "{\"kty\":\"RSA\",\"kid\":\"weak\",\"use\":\"sig\",\"n\":\"5dP_kzqjGsa4R3IFjdlb2xpilo"         \
    "LJdrdFYhuyeJGO1gcyh9W-xGQiGZRxsX_XYdrpCYOD14VKhYJVykm_jagINCg1vZyUwQhaT_TFBfq1MiY6Be"         \
    "qYgf8voQrdAjECc5TZCbEoiuXhJBUr_o9BRs3KSs1P8bIZHjhhe1gkKFqmf4E\",\"e\":\"AQAB\"}"

static const char *const vectors[] = {
    /* EdDSA */
    "eyJhbGciOiJFZERTQSIsInR5cCI6IkpXVCIsImtpZCI6ImVkIn0.eyJpc3MiOiJodHRwczovL2lzc3Vlci5l"
    "eGFtcGxlIiwiYXVkIjpbIm90aGVyIiwiZ2F0ZXdheSJdLCJzdWIiOiJqb2IiLCJpYXQiOjE3MDAwMDAwMDAs"
    "Im5iZiI6MTcwMDAwMDAwMCwiZXhwIjoxNzAwMDAwMzAwfQ._MHRhrh4z38j4plpjsfEw_s8_uZfq7Hrq8O9Z"
    "5IaMTaoTD3Mnnm_6oMachJ2c60cqvbxjazGTOkh2HNRntK8Aw",
    /* RS256 */
    "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6InJzYSJ9.eyJpc3MiOiJodHRwczovL2lzc3Vlci5"
    "leGFtcGxlIiwiYXVkIjpbIm90aGVyIiwiZ2F0ZXdheSJdLCJzdWIiOiJqb2IiLCJpYXQiOjE3MDAwMDAwMDA"
    "sIm5iZiI6MTcwMDAwMDAwMCwiZXhwIjoxNzAwMDAwMzAwfQ.ntEevs5WPFxkruuiHQn1bVYQfZhtRxaTVFyE"
    "CxEc6ufg2ZmwcuFexY_mA3grjDwQFWVj31Yq1IXJd6wDBRCAO8Hqk9rLyKYJbClhyPfiMeDqTjhJxL5YYehG"
    "rCiKPm93i53KvC-IRUN-g6IBCN-d6qqQbQJz49pO4EvHPuuTL3yoLxR_BzofjPcNVFk_BP0tTjdD34YIcNmI"
    "u7UADitE_QGfQswEbkBKx1e27HRtxYPupuk0C7nEFtGtrJeppPlnEyHvGWEbjh9_YTPwGSIiTDVKqmDvOS0f"
    "x0jQNQ3OMK8MmPLb8N0qgkq0Y6ghOo5hEHaTWvoqGGbcLDK76D8rQg",
    /* RS384 */
    "eyJhbGciOiJSUzM4NCIsInR5cCI6IkpXVCIsImtpZCI6InJzYSJ9.eyJpc3MiOiJodHRwczovL2lzc3Vlci5"
    "leGFtcGxlIiwiYXVkIjpbIm90aGVyIiwiZ2F0ZXdheSJdLCJzdWIiOiJqb2IiLCJpYXQiOjE3MDAwMDAwMDA"
    "sIm5iZiI6MTcwMDAwMDAwMCwiZXhwIjoxNzAwMDAwMzAwfQ.a5ysdr4Nb3c1pvD9NxggMlEMSORiODlfIuos"
    "GJLllmH0OGcJNuEJgFNqQ_7OfUvj8zvZnSl1wEl8PT4G-I_gJfnnEnJ8YTGuu7VNWsKAQdZWI9dq9OuQ3Jee"
    "VXDDKSJl78bMGQX_TMaJEqfaGjjgK8gwiX4gYcqOSuDq_aBHlJVuM9sNpdjYWbsMSxTeYCfNwBTI-0y9Aqfz"
    "XZUv9IJlDPTtVZ38q3nzOIoylHYqYr-BPOVSwZL2MTilom6WRA7FRVUMhBaVFRSe2AUR20jLUiWqMU0KFVKS"
    "5mdnrek_myAnUyFYyk_wuIJYIT-NkFjtNCo46xBusTChSFIh1B_ovQ",
    /* RS512 */
    "eyJhbGciOiJSUzUxMiIsInR5cCI6IkpXVCIsImtpZCI6InJzYSJ9.eyJpc3MiOiJodHRwczovL2lzc3Vlci5"
    "leGFtcGxlIiwiYXVkIjpbIm90aGVyIiwiZ2F0ZXdheSJdLCJzdWIiOiJqb2IiLCJpYXQiOjE3MDAwMDAwMDA"
    "sIm5iZiI6MTcwMDAwMDAwMCwiZXhwIjoxNzAwMDAwMzAwfQ.i1o_NaKQyTydtI7_GtVUL1qU52iwVsM0KgPp"
    "1qR1s49D_KmCdnDLbC7hHjOI9bog2wlh3F-jUaNnAUPMMFP_D4kcuhjsokBteixANLPGUkIlRXJL68ySGsyH"
    "4RNHlH2ufqF9OMLoPze6mTmMvZ4enZQXWqgbrfkNwvtsK4ljsVeJdtIsbVQRa6JR8Whp1azzD8Y2JEkBxri2"
    "snuys3bMN2jogI5ZQDYegGzG9-wgeWYdzy0oeXEA3f6CR_aTG84TEx7OwsPGH_Ay1UGARBnZl7HkhflpZHIu"
    "am6wo0yDIrD0lKJWoZXBkoR0rYSt2dP8APc6-4suzpNuQmc5pToBbg",
    /* PS256 */
    "eyJhbGciOiJQUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6InJzYSJ9.eyJpc3MiOiJodHRwczovL2lzc3Vlci5"
    "leGFtcGxlIiwiYXVkIjpbIm90aGVyIiwiZ2F0ZXdheSJdLCJzdWIiOiJqb2IiLCJpYXQiOjE3MDAwMDAwMDA"
    "sIm5iZiI6MTcwMDAwMDAwMCwiZXhwIjoxNzAwMDAwMzAwfQ.dDdS7n74Zw3WG7qz5XLlD6Ja8zNAFo4bpgzH"
    "AXuLsFafkok4n_gkNplK4dmuHearemULzqu0-_0XctkJClGIM6QegTfRe12yiDWy6R7tHifXAZMi64wc7N6F"
    "ilMolysMMkl4XZVsLwAMIb-u9kIAZQafoOEFkgIVxVl0OIBpAqmwGpoljyheuqDKAZ-LZA3F2c7XUPUam3x_"
    "Idg-r5MUYJsv3vnK-PJk0iBhBUYvQcmyfmPRWlmErgOebKsoo6iKFgbf2BkvAem9V7wbp-6DIyFG5-6KdKGL"
    "G6DjFlIFekfiGX6eEOWhkclMl-KFJGucreR0zaPgpS-jwh0_adcB3Q",
    /* ES256 */
    "eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6InAyNTYifQ.eyJpc3MiOiJodHRwczovL2lzc3Vlc"
    "i5leGFtcGxlIiwiYXVkIjpbIm90aGVyIiwiZ2F0ZXdheSJdLCJzdWIiOiJqb2IiLCJpYXQiOjE3MDAwMDAwM"
    "DAsIm5iZiI6MTcwMDAwMDAwMCwiZXhwIjoxNzAwMDAwMzAwfQ.fl4_SCoOIU_RfdOvqrT2a322SokFL0frvp"
    "soUy1DqrW4zH5S9ek_sC-7o6zyay6V8XqHABxCF37UzrglvG3qSw",
    /* ES384 */
    "eyJhbGciOiJFUzM4NCIsInR5cCI6IkpXVCIsImtpZCI6InAzODQifQ.eyJpc3MiOiJodHRwczovL2lzc3Vlc"
    "i5leGFtcGxlIiwiYXVkIjpbIm90aGVyIiwiZ2F0ZXdheSJdLCJzdWIiOiJqb2IiLCJpYXQiOjE3MDAwMDAwM"
    "DAsIm5iZiI6MTcwMDAwMDAwMCwiZXhwIjoxNzAwMDAwMzAwfQ.5NZQYwXZwCrlsJAuSX8szi9Nb-8-yoZZDc"
    "MtSURRKEy6IGW1EEcYvUynh6V0XCaJjtxlLH7cHfJ4IziupaT_uWG2O7Iwaw5wzTLtBpNQwCmwzDpuTgz8aj"
    "meLaqKc2q1",
};

#endif
